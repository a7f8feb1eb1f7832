/*---
schema: rule/v1
id: d49522f3-72c1-5972-886e-ff99db7a6a57
name: crowdsec_probing_by_address
version: 1
title: One address is refused more than 16 paths in a minute
status: stable
severity: low
confidence: 0.3
description: >
  CrowdSec's http-probing: a bucket of 10 distinct paths answered 400, 403 or 404 that leaks one in ten seconds, here as the most it lets through in a minute. Keyed by address, as the original is.
author: tollwatch
date: 2026-11-26
tags: [owasp.api1-2023]
requires: [client_ip]
params:
  threshold: {type: int, default: 16, min: 2, max: 50000, description: paths in the window}
emit: first_crossing
lateness: 1m
suppress: {by: [identity], for: 24h, update: true}
alert:
  title: "{identity}: {n}"
---*/
SELECT client_ip AS identity, window_start, window_end, count(DISTINCT path) AS n
FROM HOP(events, event_time, INTERVAL '5 seconds', INTERVAL '1 minute')
WHERE client_ip IS NOT NULL AND status IN (400, 403, 404)
GROUP BY client_ip, window_start, window_end
HAVING count(DISTINCT path) > $threshold
