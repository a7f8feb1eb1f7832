/*---
schema: rule/v1
id: 98ae3578-623e-5803-b16e-b2805ad39692
name: wallarm_bola_trigger
version: 1
title: One caller makes more than 30 calls on objects of an endpoint in 30 seconds
status: stable
severity: low
confidence: 0.3
description: >
  Wallarm's BOLA trigger with the values of its documentation's example: 30 requests in 30 seconds. Keyed by the identity that tollwatch finds, a favour: the original counts by address.
author: tollwatch
date: 2026-11-25
tags: [owasp.api1-2023]
requires: [identity]
params:
  threshold: {type: int, default: 30, min: 2, max: 50000, description: calls in the window}
emit: first_crossing
lateness: 1m
suppress: {by: [identity], for: 24h, update: true}
alert:
  title: "{identity}: {n}"
---*/
SELECT identity, endpoint, window_start, window_end, count(*) AS n
FROM HOP(events, event_time, INTERVAL '5 seconds', INTERVAL '30 seconds')
WHERE object IS NOT NULL
GROUP BY identity, endpoint, window_start, window_end
HAVING count(*) >= $threshold
