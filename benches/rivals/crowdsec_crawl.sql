/*---
schema: rule/v1
id: 0e88b261-446d-51b9-9455-5636a717cbc8
name: crowdsec_crawl
version: 1
title: One caller reads more than 50 paths in five seconds
status: stable
severity: low
confidence: 0.3
description: >
  CrowdSec's http-crawl-non_statics: a bucket of 40 distinct paths that leaks two a second, here as the most it lets through in five seconds. Keyed by the identity that tollwatch finds, a favour: the original counts by address.
author: tollwatch
date: 2026-11-25
tags: [owasp.api1-2023]
requires: [identity]
params:
  threshold: {type: int, default: 50, min: 2, max: 50000, description: paths in the window}
emit: first_crossing
lateness: 10s
suppress: {by: [identity], for: 24h, update: true}
alert:
  title: "{identity}: {n}"
---*/
SELECT identity, window_start, window_end, count(DISTINCT path) AS n
FROM HOP(events, event_time, INTERVAL '1 second', INTERVAL '5 seconds')
WHERE method IN ('GET', 'HEAD')
GROUP BY identity, window_start, window_end
HAVING count(DISTINCT path) > $threshold
