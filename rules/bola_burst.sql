/*---
schema: rule/v1
id: 3b8c1f7e-6a54-4d0b-9f0e-5f2b7c1d8e42
name: bola_burst
version: 1
title: One identity walks through objects new to it at machine speed
status: stable
severity: high
confidence: 0.7
description: >
  In five minutes an identity touched far more objects that are new to it than people do, and they are not its own. Screens that
  load fifty objects at once stay below; an enumeration with a script, or a new batch job, does not. The evidence model
  sees the same with fewer objects once it knows the caller; this rule needs to know nobody.
author: tollwatch
date: 2026-11-24
tags: [owasp.api1-2023, cwe.639, attack.t1213, attack.collection]
references: [https://owasp.org/API-Security/editions/2023/en/0xa1-broken-object-level-authorization/]
falsepositives: [a batch job or export seen for the first time, or under a new token]
compliance: [nist-csf-2.0:DE.AE-02]
remediation: Check on the server that the caller may read each object; page and limit the endpoint; give batch jobs a stable identity.
requires: [identity, object]
params:
  min_objects: {type: int, default: 150, min: 10, max: 25000, description: new objects in five minutes that are still usual}
emit: first_crossing
lateness: 1m
suppress: {by: [identity], for: 1d, update: true}
alert:
  title: "{identity} touched {objects} {collection} objects new to it in five minutes"
  evidence: {limit: 5}
tests:
  - name: 151 objects in two minutes
    rows: {generate: {n: 160, every: 700ms, identity: "'mallory'", identity_quality: "'A'", collection: "'order'", object: 1000 + i, status: 200, category: "'foreign_new'", maturity: 1.0}}
    expect: {alerts: 1, rows: [{identity: mallory, objects: 151}], title: "mallory touched 151 order objects new to it in five minutes"}
  - name: 150 objects are still usual
    rows: {generate: {n: 150, every: 700ms, identity: "'mallory'", identity_quality: "'A'", collection: "'order'", object: 1000 + i, status: 200, category: "'foreign_new'", maturity: 1.0}}
    expect: {alerts: 0}
  - name: shared objects of one's own team are no enumeration
    rows: {generate: {n: 400, every: 100ms, identity: "'alice'", identity_quality: "'A'", collection: "'order'", object: i, status: 200, category: "'own'", maturity: 1.0}}
    expect: {alerts: 0}
  - name: nobody is judged while the lane learns
    rows: {generate: {n: 400, every: 100ms, identity: "'nightly'", identity_quality: "'A'", collection: "'order'", object: i, status: 200, category: "'virgin'", maturity: 0.0}}
    expect: {alerts: 0}
---*/
SELECT identity, collection, window_start, window_end, count(DISTINCT object) AS objects
FROM HOP(touches, event_time, INTERVAL '10 seconds', INTERVAL '5 minutes')
WHERE maturity >= 1 AND category <> 'own' AND identity_quality <> 'D'
GROUP BY identity, collection, window_start, window_end
HAVING count(DISTINCT object) > $min_objects
