/*---
schema: rule/v1
id: ace52d27-e77f-5fd9-b761-f73187ae31fc
name: authn_function_tried_then_done
version: 1
title: A function that was refused is reached another way
status: test
severity: medium
confidence: 0.4
description: >
  A write refused with 403 at least twice, and then a write served on the same path within ten minutes: a role check that another method,
  header or parameter gets around (broken function level authorization).
author: tollwatch
date: 2026-11-25
tags: [owasp.api5-2023, attack.t1548, cwe.285]
references: [https://owasp.org/API-Security/editions/2023/en/0xa5-broken-function-level-authorization/]
falsepositives: [a role that was granted in between, a form that was corrected]
compliance: [nist-csf-2.0:DE.AE-02]
remediation: Check the role in the function itself, for every method and content type it takes.
requires: [identity]
within: 10m
suppress: {by: [identity, path], for: 24h, update: true}
alert:
  title: "{identity} was refused {path} {refused} times and then wrote there by {method}"
  evidence: {limit: 5}
tests:
  - name: refused twice, then done
    rows:
      - {generate: {n: 2, every: 10s, identity: "'mallory'", path: "'/admin/users/7'", method: "'DELETE'", write: true, status: 403}}
      - {generate: {n: 1, identity: "'mallory'", path: "'/admin/users/7'", method: "'PATCH'", write: true, status: 204}}
    expect: {alerts: 1, rows: [{identity: mallory, refused: 2, method: PATCH}]}
  - name: refused once is a slip
    rows:
      - {generate: {n: 1, identity: "'mallory'", path: "'/admin/users/7'", method: "'DELETE'", write: true, status: 403}}
      - {generate: {n: 1, identity: "'mallory'", path: "'/admin/users/7'", method: "'PATCH'", write: true, status: 204}}
    expect: {alerts: 0}
  - name: another path is another matter
    rows:
      - {generate: {n: 5, every: 10s, identity: "'mallory'", path: "'/admin/users/7'", method: "'DELETE'", write: true, status: 403}}
      - {generate: {n: 1, identity: "'mallory'", path: "'/notes/7'", method: "'PATCH'", write: true, status: 204}}
    expect: {alerts: 0}
---*/
WITH writes AS (SELECT * FROM events WHERE "write" AND (status = 403 OR status < 400))
SELECT identity, path, refused, method, endpoint, match_start, match_end
FROM writes MATCH_RECOGNIZE (
  PARTITION BY identity, path
  MEASURES COUNT(refused.*) AS refused, LAST(served.method) AS method, LAST(served.endpoint) AS endpoint
  PATTERN (refused{2,} served)
  DEFINE refused AS status = 403, served AS status < 400
)
