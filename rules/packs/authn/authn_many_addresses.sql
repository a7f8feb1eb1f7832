/*---
schema: rule/v1
id: 95ed1489-8ff8-52a0-aeb5-55fb2328ebff
name: authn_many_addresses
version: 1
title: One credential is used from many addresses at once
status: test
severity: medium
confidence: 0.4
description: >
  A credential that names its owner, seen from more addresses in an hour than one person has: shared, stolen, or sold. Counts callers with
  a good identity alone, since a weak one is made of the address.
author: tollwatch
date: 2026-11-25
tags: [owasp.api2-2023, attack.t1078, cwe.522]
references: [https://owasp.org/API-Security/editions/2023/en/0xa2-broken-authentication/]
falsepositives: [a service account behind a pool of addresses, mobile networks that change addresses at every call]
compliance: [nist-csf-2.0:DE.AE-02]
remediation: Bind tokens to their holder (mTLS, DPoP), shorten their life, and ask the owner.
requires: [identity, client_ip]
params:
  addresses: {type: int, default: 8, min: 2, max: 1000, description: addresses in an hour that are still usual}
emit: first_crossing
lateness: 1m
suppress: {by: [identity], for: 24h, update: true}
alert:
  title: "{identity} came from {addresses} addresses within an hour"
  evidence: {limit: 5}
tests:
  - name: nine addresses
    rows: {generate: {n: 45, every: 60s, identity: "'alice'", identity_quality: "'A'", client_ip: "'192.0.2.' || (i % 9)", status: 200}}
    expect: {alerts: 1, rows: [{identity: alice, addresses: 9}]}
  - name: eight are still usual
    rows: {generate: {n: 45, every: 60s, identity: "'alice'", identity_quality: "'A'", client_ip: "'192.0.2.' || (i % 8)", status: 200}}
    expect: {alerts: 0}
  - name: who is made of an address has as many as there are
    rows: {generate: {n: 45, every: 60s, identity: "'alice'", identity_quality: "'D'", client_ip: "'192.0.2.' || (i % 9)", status: 200}}
    expect: {alerts: 0}
  - name: addresses over a day
    rows: {generate: {n: 24, every: 3601s, identity: "'alice'", identity_quality: "'A'", client_ip: "'192.0.2.' || i", status: 200}}
    expect: {alerts: 0}
---*/
SELECT identity, window_start, window_end, count(DISTINCT client_ip) AS addresses
FROM HOP(events, event_time, INTERVAL '2 minutes', INTERVAL '1 hour')
WHERE identity_quality IN ('A', 'B') AND status < 400
GROUP BY identity, window_start, window_end
HAVING count(DISTINCT client_ip) > $addresses
