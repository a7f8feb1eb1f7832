/*---
schema: rule/v1
id: fccfb7db-5c3b-4b92-9a68-1a8dc2d27350
name: bola_foreign_write
version: 2
title: One identity changes objects that are not its own
status: stable
severity: critical
confidence: 0.9
description: >
  The caller writes to objects of owners it shares nothing with, on evidence that passes the alarm. One foreign write is worth
  more evidence than many foreign reads: almost nobody changes what belongs to somebody else.
author: tollwatch
date: 2026-01-15
modified: 2026-11-24
tags: [owasp.api1-2023, cwe.639, attack.t1565.001, attack.impact]
references: [https://owasp.org/API-Security/editions/2023/en/0xa1-broken-object-level-authorization/]
falsepositives:
  - an administrator's account in its first days
  - a migration or clean-up job that writes for all owners
compliance: [pci-dss-4.0.1:6.2.4, nist-csf-2.0:DE.AE-02]
remediation: >
  Revoke the credential, restore the objects named in the evidence, and check on the server that the caller may change the
  object it names.
requires: [identity, object]
suppress: {by: [identity], for: 24h, update: true}
alert:
  title: "{identity} changed {n_foreign_writes} objects of others through {endpoint}"
  evidence: {limit: 5}
tests:
  - name: foreign writes over the alarm are one case
    rows: {generate: {n: 6, every: 1s, identity: "'mallory'", identity_quality: "'A'", method: "'PUT'", endpoint: "'PUT api.x/orders/{id}'", category: "'foreign_new'", write: true, alarm: i >= 2, n_foreign_writes: i + 1}}
    expect: {alerts: 1, rows: [{identity: mallory, n_foreign_writes: 3}]}
  - name: reads are the other rule
    rows: {generate: {n: 6, every: 1s, identity: "'mallory'", identity_quality: "'A'", category: "'foreign_new'", write: false, alarm: true}}
    expect: {alerts: 0}
  - name: writing its own while under evidence is no foreign write
    rows: {generate: {n: 6, every: 1s, identity: "'mallory'", identity_quality: "'A'", category: "'own'", write: true, alarm: true}}
    expect: {alerts: 0}
  - name: refused writes and writes to nobody's objects changed nothing of others
    rows:
      - {identity: "'mallory'", identity_quality: "'A'", category: "'denied'", write: true, alarm: true}
      - {identity: "'mallory'", identity_quality: "'A'", category: "'virgin'", write: true, alarm: true}
    expect: {alerts: 0}
  - name: two callers are two cases
    rows: {generate: {n: 6, every: 1s, identity: "'caller ' || (i % 2)", identity_quality: "'B'", category: "'foreign_met'", write: true, alarm: true}}
    expect: {alerts: 2}
---*/
SELECT identity, identity_quality, endpoint, method, collection, category, object_owner,
       n_foreign_writes, n_touches, n_foreign, n_exposed,
       evidence, surprise_nats, p_own, p_peer, maturity, first_evidence_time
FROM touches
WHERE alarm
  AND write
  AND category IN ('foreign_new', 'foreign_met')
  AND identity_quality <> 'D'
