/*---
schema: rule/v1
id: d9eb88df-604b-40a3-8f4f-f71fec6b3f65
name: object_flood
version: 1
title: One identity reads very many objects of one endpoint
status: test
severity: low
confidence: 0.3
description: >
  The plain count that most tools stop at: distinct objects per identity and endpoint in five minutes. It knows nothing of
  owners or of what is usual, so it is noisy on exports and blind to whoever goes slowly. It is here to start your own rules
  from; bola_enumeration is the detection.
author: tollwatch
date: 2026-01-15
tags: [owasp.api1-2023, owasp.api4-2023, cwe.639, attack.t1213]
references: [https://owasp.org/API-Security/editions/2023/en/0xa4-unrestricted-resource-consumption/]
falsepositives: [bulk export, nightly reconciliation, a crawler that is allowed]
compliance: [nist-csf-2.0:DE.AE-02]
remediation: Page and limit the endpoint, and check on the server that the caller may read each object.
requires: [identity, object]
params:
  min_objects: {type: int, default: 500, min: 10, max: 25000, description: distinct objects in five minutes that are still usual}
emit: first_crossing
lateness: 1m
suppress: {by: [identity, endpoint], for: 1h, update: true}
alert:
  title: "{identity} read {objects} objects of {endpoint} in five minutes"
  evidence: {limit: 5}
tests:
  - name: 501 objects in four minutes
    rows: {generate: {n: 520, every: 480ms, identity: "'mallory'", endpoint: "'GET api.x/orders/{id}'", object: 1000 + i, status: 200}}
    expect: {alerts: 1, rows: [{identity: mallory, objects: 501}], title: "mallory read 501 objects of GET api.x/orders/{id} in five minutes"}
  - name: 500 objects are still usual
    rows: {generate: {n: 500, every: 480ms, identity: "'mallory'", endpoint: "'GET api.x/orders/{id}'", object: 1000 + i, status: 200}}
    expect: {alerts: 0}
  - name: the same objects again and again
    rows: {generate: {n: 2000, every: 100ms, identity: "'poller'", endpoint: "'GET api.x/orders/{id}'", object: i % 400, status: 200}}
    expect: {alerts: 0}
  - name: refusals are no reads
    rows: {generate: {n: 520, every: 480ms, identity: "'mallory'", endpoint: "'GET api.x/orders/{id}'", object: 1000 + i, status: 403}}
    expect: {alerts: 0}
  - name: 600 objects over an hour are never 500 in five minutes
    rows: {generate: {n: 600, every: 6s, identity: "'slow'", endpoint: "'GET api.x/orders/{id}'", object: i, status: 200}}
    expect: {alerts: 0}
---*/
SELECT identity, endpoint, window_start, window_end, count(DISTINCT object) AS objects
FROM HOP(events, event_time, INTERVAL '10 seconds', INTERVAL '5 minutes')
WHERE status < 400 AND object IS NOT NULL
GROUP BY identity, endpoint, window_start, window_end
HAVING count(DISTINCT object) > $min_objects
