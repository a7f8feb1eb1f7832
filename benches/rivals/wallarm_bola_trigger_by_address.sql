/*---
schema: rule/v1
id: 252779ef-f105-507f-8414-c7055b24f7e7
name: wallarm_bola_trigger_by_address
version: 1
title: One address makes more than 30 calls on objects of an endpoint in 30 seconds
status: stable
severity: low
confidence: 0.3
description: >
  Wallarm's BOLA trigger with the values of its documentation's example: 30 requests in 30 seconds. Keyed by address, as the original is.
author: tollwatch
date: 2026-11-26
tags: [owasp.api1-2023]
requires: [client_ip]
params:
  threshold: {type: int, default: 30, min: 2, max: 50000, description: calls in the window}
emit: first_crossing
lateness: 1m
suppress: {by: [identity], for: 24h, update: true}
alert:
  title: "{identity}: {n}"
---*/
SELECT client_ip AS identity, endpoint, window_start, window_end, count(*) AS n
FROM HOP(events, event_time, INTERVAL '5 seconds', INTERVAL '30 seconds')
WHERE client_ip IS NOT NULL AND object IS NOT NULL
GROUP BY client_ip, endpoint, window_start, window_end
HAVING count(*) >= $threshold
