/*---
schema: rule/v1
id: b01c708c-1742-58c6-89f3-5325af0dbf46
name: crowdsec_probing
version: 1
title: One caller is refused more than 16 paths in a minute
status: stable
severity: low
confidence: 0.3
description: >
  CrowdSec's http-probing: a bucket of 10 distinct paths answered 400, 403 or 404 that leaks one in ten seconds, here as the most it lets through in a minute. Keyed by the identity that tollwatch finds, a favour: the original counts by address.
author: tollwatch
date: 2026-11-25
tags: [owasp.api1-2023]
requires: [identity]
params:
  threshold: {type: int, default: 16, min: 2, max: 50000, description: paths in the window}
emit: first_crossing
lateness: 1m
suppress: {by: [identity], for: 24h, update: true}
alert:
  title: "{identity}: {n}"
---*/
SELECT identity, window_start, window_end, count(DISTINCT path) AS n
FROM HOP(events, event_time, INTERVAL '5 seconds', INTERVAL '1 minute')
WHERE status IN (400, 403, 404)
GROUP BY identity, window_start, window_end
HAVING count(DISTINCT path) > $threshold
