/*---
schema: rule/v1
id: 3dc2a2fc-f478-4b7e-b4b2-86d88b7f75e6
name: bola_enumeration
version: 2
title: One identity walks through objects that are not its own
status: stable
severity: high
confidence: 0.9
description: >
  The caller touches objects new to it, of owners it shares nothing with or of no known owner, far more often than it and its
  peers usually do. The evidence is a Shiryaev-Roberts e-detector per identity and endpoint: it has no window, so a burst and
  one id an hour are the same test, and it alarms on the odds of the operator's false-alert promise. Writes that were refused,
  or that met objects nobody had touched, are tries like reads; writes to others' objects are bola_foreign_write's.
author: tollwatch
date: 2026-01-15
modified: 2026-11-24
tags: [owasp.api1-2023, cwe.639, attack.t1213, attack.collection]
references: [https://owasp.org/API-Security/editions/2023/en/0xa1-broken-object-level-authorization/]
falsepositives:
  - a support or audit account in its first days, before it is known to read across owners
  - a batch job that was given a new range of objects
  - a migration that hands all objects of one owner to another
compliance: [pci-dss-4.0.1:6.2.4, nist-csf-2.0:DE.AE-02]
remediation: >
  Check on the server that the caller may read the object it names, not only that it is logged in. Revoke the credential while
  the exposed objects are reviewed; they are listed in the evidence by position.
requires: [identity, object]
suppress: {by: [identity], for: 24h, update: true}
alert:
  title: "{identity} touched {n_touches} {collection} objects through {endpoint}: {n_exposed} of others, {n_virgin} of nobody yet, {n_denied} refused or not there (evidence {evidence})"
  evidence: {limit: 5}
tests:
  - name: a run over the alarm is one case
    rows: {generate: {n: 20, every: 500ms, identity: "'mallory'", identity_quality: "'A'", endpoint: "'GET api.x/orders/{id}'", collection: "'orders'", category: "'foreign_new'", evidence: "power(2.0, i)", alarm: i >= 12, n_touches: i + 4, n_exposed: i + 1, n_virgin: 2, n_denied: 1}}
    expect: {alerts: 1, rows: [{identity: mallory, n_exposed: 13, evidence: 4096}], title: "mallory touched 16 orders objects through GET api.x/orders/{id}: 13 of others, 2 of nobody yet, 1 refused or not there (evidence 4096)"}
  - name: only refusals are told as refusals
    rows: {identity: "'mallory'", identity_quality: "'A'", endpoint: "'GET api.x/orders/{id}'", collection: "'orders'", category: "'denied'", evidence: 4096, alarm: true, n_touches: 12, n_denied: 12}
    expect: {alerts: 1, title: "mallory touched 12 orders objects through GET api.x/orders/{id}: 0 of others, 0 of nobody yet, 12 refused or not there (evidence 4096)"}
  - name: evidence below the alarm is quiet
    rows: {generate: {n: 20, every: 500ms, identity: "'alice'", identity_quality: "'A'", category: "'foreign_new'", evidence: i, alarm: false}}
    expect: {alerts: 0}
  - name: an address is too weak an identity to open a case alone
    rows: {generate: {n: 5, every: 1s, identity: "'ip:203.0.113.9'", identity_quality: "'D'", category: "'foreign_new'", alarm: true}}
    expect: {alerts: 0}
  - name: the grade above the weakest does
    rows: {generate: {n: 5, every: 1s, identity: "'session:1'", identity_quality: "'C'", category: "'foreign_new'", alarm: true}}
    expect: {alerts: 1}
  - name: writes to others' objects are the other rule
    rows: {generate: {n: 5, every: 1s, identity: "'mallory'", identity_quality: "'A'", category: "'foreign_new'", alarm: true, write: true}}
    expect: {alerts: 0}
  - name: writes that were refused, or met nobody's objects, are tries
    rows:
      - {identity: "'mallory'", identity_quality: "'A'", category: "'denied'", alarm: true, write: true}
      - {identity: "'eve'", identity_quality: "'A'", category: "'virgin'", alarm: true, write: true}
    expect: {alerts: 2}
---*/
SELECT identity, identity_quality, endpoint, collection, category, object_owner,
       write, n_touches, n_virgin, n_foreign, n_met, n_denied, n_exposed,
       evidence, surprise_nats, p_own, p_peer, maturity, first_evidence_time
FROM touches
WHERE alarm
  AND category <> 'own'
  AND NOT (write AND category IN ('foreign_new', 'foreign_met'))
  AND identity_quality <> 'D'
