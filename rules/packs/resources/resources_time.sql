/*---
schema: rule/v1
id: b033f7cd-36ca-578d-aa4c-733b7312ad8c
name: resources_time
version: 1
title: One caller keeps the servers busy
status: test
severity: low
confidence: 0.4
description: >
  The time that servers worked for one caller in a minute, all its calls together. More than two minutes of it are two of everything at work
  for one caller alone.
author: tollwatch
date: 2026-11-25
tags: [owasp.api4-2023, attack.t1499, cwe.770]
references: [https://owasp.org/API-Security/editions/2023/en/0xa4-unrestricted-resource-consumption/]
falsepositives: [long polls and streams, whose time is no work]
compliance: [nist-csf-2.0:DE.AE-02]
remediation: Limit how many calls of one caller are worked on at once, and what one call may cost.
requires: [identity, latency_us]
params:
  seconds: {type: int, default: 120, min: 1, max: 100000, description: seconds of work in a minute that are still usual}
emit: first_crossing
lateness: 1m
suppress: {by: [identity], for: 1h, update: true}
alert:
  title: "{identity} kept servers busy for {micros} microseconds within a minute"
  evidence: {limit: 5}
tests:
  - name: calls of ten seconds each
    rows: {generate: {n: 13, every: 1s, identity: "'mallory'", latency_us: "10000000", status: 200}}
    expect: {alerts: 1, rows: [{identity: mallory}]}
  - name: two minutes and no more
    rows: {generate: {n: 12, every: 1s, identity: "'mallory'", latency_us: "10000000", status: 200}}
    expect: {alerts: 0}
  - name: long calls that come apart
    rows: {generate: {n: 60, every: 10s, identity: "'mallory'", latency_us: "10000000", status: 200}}
    expect: {alerts: 0}
---*/
SELECT identity, window_start, window_end, sum(latency_us) AS micros, count(*) AS calls
FROM HOP(events, event_time, INTERVAL '10 seconds', INTERVAL '1 minute')
WHERE latency_us > 0
GROUP BY identity, window_start, window_end
HAVING sum(latency_us) > 1000000 * $seconds
