/*---
schema: rule/v1
id: 0d0f6a52-6f0a-5f3e-9c53-5d0b9a2c7e41
name: chain_probe_then_bola
version: 1
title: A caller that probed went on to other people's objects
status: test
severity: critical
confidence: 0.8
description: >
  An alert of probing and then one of access to others' objects, of one caller within a day, in this order, with any others between them.
  Each is an alert of its own; together they are an attack that has found what it looked for.
author: tollwatch
date: 2026-11-26
tags: [attack.t1595.002, attack.t1213, cwe.639]
references: [https://owasp.org/API-Security/editions/2023/en/0xa1-broken-object-level-authorization/]
falsepositives: [a test of the defences that nobody announced]
remediation: Revoke the caller's credentials, then read what the second alert names as exposed.
within: 1d
suppress: {by: [identity], for: 24h}
alert:
  title: "{identity} probed and then reached for others' objects at {endpoint} ({reached})"
  evidence: {limit: 5}
tests:
  - name: probing, then objects of others
    rows:
      - {at: 0s, rule: "'misconfig_probe'", tactic: "'api8-2023'", identity: "'mallory'", endpoint: "'GET api.x /env'"}
      - {at: 2h, rule: "'object_flood'", tactic: "'api4-2023'", identity: "'mallory'", endpoint: "'GET api.x /orders/{id}'"}
      - {at: 3h, rule: "'bola_run'", tactic: "'api1-2023'", identity: "'mallory'", endpoint: "'GET api.x /orders/{id}'"}
    expect: {alerts: 1, rows: [{identity: mallory, probed: misconfig_probe, reached: bola_run}]}
  - name: the other way round it is another story
    rows:
      - {at: 0s, rule: "'bola_run'", tactic: "'api1-2023'", identity: "'mallory'"}
      - {at: 1h, rule: "'misconfig_probe'", tactic: "'api8-2023'", identity: "'mallory'"}
    expect: {alerts: 0}
  - name: two callers are no chain
    rows:
      - {at: 0s, rule: "'misconfig_probe'", tactic: "'api8-2023'", identity: "'mallory'"}
      - {at: 1h, rule: "'bola_run'", tactic: "'api1-2023'", identity: "'alice'"}
    expect: {alerts: 0}
  - name: a day and a second apart
    rows:
      - {at: 0s, rule: "'misconfig_probe'", tactic: "'api8-2023'", identity: "'mallory'"}
      - {at: 86401s, rule: "'bola_run'", tactic: "'api1-2023'", identity: "'mallory'"}
    expect: {alerts: 0}
---*/
SELECT identity, probed, reached, endpoint, match_start, match_end
FROM alerts MATCH_RECOGNIZE (
  PARTITION BY identity
  MEASURES FIRST(probe.rule) AS probed, LAST(bola.rule) AS reached, LAST(bola.endpoint) AS endpoint
  PATTERN (probe other* bola)
  DEFINE probe AS tactic = 'api8-2023', bola AS tactic = 'api1-2023'
)
