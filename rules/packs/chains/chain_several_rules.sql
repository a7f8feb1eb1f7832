/*---
schema: rule/v1
id: 7b0d4c1e-2a63-5c0f-8a94-0e6f1d7c3b52
name: chain_several_rules
version: 1
title: Several rules alert on one caller
status: test
severity: high
confidence: 0.6
description: >
  Three rules or more, whichever they are, within six hours of each other on one caller. What each takes for chance is seldom chance
  three times; rules of low severity are worth having for this one.
author: tollwatch
date: 2026-11-26
tags: [attack.t1213]
references: [https://attack.mitre.org/techniques/T1213/]
falsepositives: [a shared service account, a caller whose client was rewritten]
remediation: Read the alerts in the order of their times.
params:
  rules: {type: int, default: 3, min: 2, max: 20, description: rules that are enough}
suppress: {by: [identity], for: 24h, update: true}
alert:
  title: "{rules} rules alert on {identity}"
  evidence: {limit: 5}
tests:
  - name: three rules within six hours
    rows:
      - {at: 0s, rule: "'a'", identity: "'mallory'"}
      - {at: 3h, rule: "'b'", identity: "'mallory'"}
      - {at: 21599s, rule: "'c'", identity: "'mallory'"}
    expect: {alerts: 1, rows: [{identity: mallory, rules: 3}]}
  - name: six hours apart
    rows:
      - {at: 0s, rule: "'a'", identity: "'mallory'"}
      - {at: 3h, rule: "'b'", identity: "'mallory'"}
      - {at: 6h, rule: "'c'", identity: "'mallory'"}
    expect: {alerts: 0}
  - name: one rule again and again
    rows: {generate: {n: 50, every: 5m, rule: "'a' || (i % 2)", identity: "'mallory'"}}
    expect: {alerts: 0}
  - name: alerts about endpoints are nobody's
    rows: {generate: {n: 50, every: 5m, rule: "'a' || i", endpoint: "'GET api.x /a'"}}
    expect: {alerts: 0}
---*/
SELECT identity, window_start, window_end, count(DISTINCT rule) AS rules
FROM SLIDING(alerts, event_time, INTERVAL '6 hours')
WHERE identity IS NOT NULL
GROUP BY identity, window_start, window_end
HAVING count(DISTINCT rule) >= $rules
