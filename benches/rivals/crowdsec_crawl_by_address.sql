/*---
schema: rule/v1
id: 266224fd-838c-51c8-9d1e-db65a4089018
name: crowdsec_crawl_by_address
version: 1
title: One address reads more than 50 paths in five seconds
status: stable
severity: low
confidence: 0.3
description: >
  CrowdSec's http-crawl-non_statics: a bucket of 40 distinct paths that leaks two a second, here as the most it lets through in five seconds. Keyed by address, as the original is.
author: tollwatch
date: 2026-11-26
tags: [owasp.api1-2023]
requires: [client_ip]
params:
  threshold: {type: int, default: 50, min: 2, max: 50000, description: paths in the window}
emit: first_crossing
lateness: 10s
suppress: {by: [identity], for: 24h, update: true}
alert:
  title: "{identity}: {n}"
---*/
SELECT client_ip AS identity, window_start, window_end, count(DISTINCT path) AS n
FROM HOP(events, event_time, INTERVAL '1 second', INTERVAL '5 seconds')
WHERE client_ip IS NOT NULL AND method IN ('GET', 'HEAD')
GROUP BY client_ip, window_start, window_end
HAVING count(DISTINCT path) > $threshold
