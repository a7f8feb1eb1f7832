/*---
schema: rule/v1
id: 8d2f6a1b-40c7-4f57-9a3e-c1d0b7e5f264
name: bola_run
version: 2
title: One identity touches far more new objects in a sitting than anybody does
status: stable
severity: high
confidence: 0.7
description: >
  In one sitting an identity touched three times as many objects new to it as 19 in 20 of its peers ever did, and three times as
  many as it ever did itself; or so many in the order of their ids. Nobody guesses the limit: it is learned for each collection,
  and the operator's false-alert promise moves the three. One object in six must be another's or refused, so that whoever loads
  all of its own is not told. It sees a caller's very first sitting, at any pace above one object an hour.
author: tollwatch
date: 2026-11-25
tags: [owasp.api1-2023, cwe.639, attack.t1213, attack.collection]
references: [https://owasp.org/API-Security/editions/2023/en/0xa1-broken-object-level-authorization/]
falsepositives: [a batch job, a migration or an auditor at work for the first time]
compliance: [nist-csf-2.0:DE.AE-02]
remediation: >
  Check on the server that the caller may read each object; page and limit the endpoint. If it is a new job of yours, nothing need
  be done: as much is usual for it from now on.
requires: [identity, object]
suppress: {by: [identity], for: 1d, update: true}
alert:
  title: "{identity} touched {run_objects} {collection} objects new to it in one sitting ({run_alarm})"
  evidence: {limit: 5}
tests:
  - name: a sitting too long is one case
    rows: {generate: {n: 50, every: 700ms, identity: "'mallory'", identity_quality: "'A'", collection: "'order'", category: "'foreign_new'", run_objects: i + 1, run_alarm: "CASE WHEN i = 40 THEN 'many' END"}}
    expect: {alerts: 1, rows: [{identity: mallory, run_objects: 41}], title: "mallory touched 41 order objects new to it in one sitting (many)"}
  - name: one that is not is none
    rows: {generate: {n: 50, every: 700ms, identity: "'alice'", identity_quality: "'A'", collection: "'order'", category: "'virgin'", run_objects: i + 1}}
    expect: {alerts: 0}
  - name: an address with many callers behind it is nobody's sitting
    rows: [{identity: "'ip:203.0.113.9'", identity_quality: "'D'", run_objects: 400, run_alarm: "'many'"}]
    expect: {alerts: 0}
---*/
SELECT identity, identity_quality, endpoint, method, collection, category, object_owner,
       run_objects, run_in_order, run_usual, run_alarm,
       n_touches, n_foreign, n_virgin, n_denied, n_exposed, evidence, maturity
FROM touches
WHERE run_alarm IS NOT NULL
  AND identity_quality <> 'D'
