/*---
schema: rule/v1
id: effaf3ab-7b85-55e4-8248-2eb43f5554f9
name: akto_parameter_enumeration
version: 1
title: One caller names more than 50 objects of an endpoint in five minutes
status: stable
severity: low
confidence: 0.3
description: >
  Akto's parameter enumeration at its default: more than 50 distinct values per caller and endpoint in five minutes, in bins of one minute. Keyed by the identity that tollwatch finds, a favour: the original counts by address.
author: tollwatch
date: 2026-11-25
tags: [owasp.api1-2023]
requires: [identity]
params:
  threshold: {type: int, default: 50, min: 2, max: 50000, description: values in the window}
emit: first_crossing
lateness: 1m
suppress: {by: [identity], for: 24h, update: true}
alert:
  title: "{identity}: {n}"
---*/
SELECT identity, endpoint, window_start, window_end, count(DISTINCT object) AS n
FROM HOP(events, event_time, INTERVAL '1 minute', INTERVAL '5 minutes')
WHERE object IS NOT NULL
GROUP BY identity, endpoint, window_start, window_end
HAVING count(DISTINCT object) > $threshold
