/*---
schema: rule/v1
id: 8ba1386a-2493-5bef-b9ba-aade30a0a4b9
name: exfiltration_large_answers
version: 1
title: One caller gets the largest answers again and again
status: test
severity: low
confidence: 0.4
description: >
  Answers larger than 999 in 1000 of their endpoint's, thirty of them within an hour to one caller: a page size, an expansion or a filter that
  nobody else uses. Each endpoint is compared with itself, so it needs no threshold in bytes.
author: tollwatch
date: 2026-11-25
tags: [owasp.api3-2023, owasp.api4-2023, attack.t1530, cwe.213]
references: [https://owasp.org/API-Security/editions/2023/en/0xa3-broken-object-property-level-authorization/]
falsepositives: [a report that is run once a month, a customer with more data than all others]
compliance: [nist-csf-2.0:DE.AE-02]
remediation: Bound page sizes and expansions on the server, and give out the properties a caller may see.
requires: [identity, response_bytes]
emit: first_crossing
lateness: 1m
suppress: {by: [identity], for: 24h, update: true}
alert:
  title: "{identity} got {answers} of the largest answers within an hour"
  evidence: {limit: 5}
tests:
  - name: thirty-one of the largest
    rows: {generate: {n: 31, every: 60s, identity: "'mallory'", response_bytes_quantile: "0.9995", maturity: "1.0", status: 200}}
    expect: {alerts: 1, rows: [{identity: mallory, answers: 31}]}
  - name: thirty are chance
    rows: {generate: {n: 30, every: 60s, identity: "'mallory'", response_bytes_quantile: "0.9995", maturity: "1.0", status: 200}}
    expect: {alerts: 0}
  - name: large, and not the largest
    rows: {generate: {n: 300, every: 6s, identity: "'mallory'", response_bytes_quantile: "0.999", maturity: "1.0", status: 200}}
    expect: {alerts: 0}
  - name: nobody knows yet what is large
    rows: {generate: {n: 300, every: 6s, identity: "'mallory'", response_bytes_quantile: "1.0", maturity: "0.0", status: 200}}
    expect: {alerts: 0}
---*/
SELECT identity, window_start, window_end, count(*) AS answers
FROM HOP(events, event_time, INTERVAL '2 minutes', INTERVAL '1 hour')
WHERE response_bytes_quantile > 0.999 AND maturity = 1 AND status < 400
GROUP BY identity, window_start, window_end
HAVING count(*) > 30
