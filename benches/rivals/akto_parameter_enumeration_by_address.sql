/*---
schema: rule/v1
id: 0b19e322-3c4f-554c-a5ed-d02092774305
name: akto_parameter_enumeration_by_address
version: 1
title: One address names more than 50 objects of an endpoint in five minutes
status: stable
severity: low
confidence: 0.3
description: >
  Akto's parameter enumeration at its default: more than 50 distinct values per address and endpoint in five minutes, in bins of one minute. Keyed by address, as the original is.
author: tollwatch
date: 2026-11-26
tags: [owasp.api1-2023]
requires: [client_ip]
params:
  threshold: {type: int, default: 50, min: 2, max: 50000, description: values in the window}
emit: first_crossing
lateness: 1m
suppress: {by: [identity], for: 24h, update: true}
alert:
  title: "{identity}: {n}"
---*/
SELECT client_ip AS identity, endpoint, window_start, window_end, count(DISTINCT object) AS n
FROM HOP(events, event_time, INTERVAL '1 minute', INTERVAL '5 minutes')
WHERE client_ip IS NOT NULL AND object IS NOT NULL
GROUP BY client_ip, endpoint, window_start, window_end
HAVING count(DISTINCT object) > $threshold
