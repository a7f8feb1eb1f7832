/*---
schema: rule/v1
id: 7e32ee58-8711-5ea7-8f53-04fc500dd4ab
name: exfiltration_bytes
version: 1
title: One caller takes very much data out
status: test
severity: medium
confidence: 0.4
description: >
  The bytes of all answers to one caller in an hour. What is much differs from API to API: set the parameter to ten times what the
  greediest ordinary caller takes, which a back-test over a week tells.
author: tollwatch
date: 2026-11-25
tags: [owasp.api1-2023, owasp.api4-2023, attack.t1567, cwe.359]
references: [https://owasp.org/API-Security/editions/2023/en/0xa4-unrestricted-resource-consumption/]
falsepositives: [exports and backups, media that the API serves]
compliance: [nist-csf-2.0:DE.AE-02]
remediation: Limit what one caller may take, and ask its owner what the data was for.
requires: [identity, response_bytes]
params:
  bytes: {type: int, default: 2000000000, min: 1000, max: 1000000000000000, description: bytes in an hour that are still usual}
emit: first_crossing
lateness: 1m
suppress: {by: [identity], for: 24h, update: true}
alert:
  title: "{identity} took {bytes} bytes within an hour"
  evidence: {limit: 5}
tests:
  - name: three gigabytes
    rows: {generate: {n: 30, every: 60s, identity: "'mallory'", response_bytes: "100000001", status: 200}}
    expect: {alerts: 1, rows: [{identity: mallory}]}
  - name: two gigabytes and no more
    rows: {generate: {n: 20, every: 60s, identity: "'mallory'", response_bytes: "100000000", status: 200}}
    expect: {alerts: 0}
  - name: as much over a day
    rows: {generate: {n: 30, every: 3601s, identity: "'mallory'", response_bytes: "100000001", status: 200}}
    expect: {alerts: 0}
---*/
SELECT identity, window_start, window_end, sum(response_bytes) AS bytes, count(*) AS calls
FROM HOP(events, event_time, INTERVAL '2 minutes', INTERVAL '1 hour')
WHERE response_bytes > 0
GROUP BY identity, window_start, window_end
HAVING sum(response_bytes) > $bytes
