/*---
schema: rule/v1
id: 99ed1b0a-2b8b-45cb-b6d1-69cf2bb3a6c7
name: posture_plaintext_http
version: 1
title: Credentials travel over plain HTTP
status: stable
severity: low
confidence: 0.6
description: >
  A host took a call with credentials over http and answered it. Whoever sits on the way reads the credentials, and a redirect
  to https comes too late. Loopback hosts are left out.
author: tollwatch
date: 2026-01-15
tags: [owasp.api8-2023, cwe.319, attack.t1040]
references: [https://owasp.org/API-Security/editions/2023/en/0xa8-security-misconfiguration/]
falsepositives: [a load balancer in front of the gateway ends TLS and does not pass X-Forwarded-Proto on, traffic inside a mesh that encrypts below HTTP]
compliance: [pci-dss-4.0.1:4.2.1, nist-csf-2.0:PR.DS-02]
remediation: Serve the host over https only, send Strict-Transport-Security, and change the credentials that were seen.
requires: [scheme, host, authenticated]
suppress: {by: [host], for: 24h, update: true}
alert:
  title: "{host} takes credentials over plain HTTP"
  evidence: {limit: 5}
tests:
  - name: a logged-in call over http
    rows: {generate: {n: 50, every: 1m, scheme: "'http'", host: "'api.x'", authenticated: true, status: 200}}
    expect: {alerts: 1, rows: [{host: api.x}], title: api.x takes credentials over plain HTTP}
  - name: https is as it should be
    rows: {generate: {n: 50, scheme: "'https'", host: "'api.x'", authenticated: true, status: 200}}
    expect: {alerts: 0}
  - name: loopback, redirects and anonymous calls are quiet
    rows:
      - {scheme: "'http'", host: "'localhost:8080'", authenticated: true, status: 200}
      - {scheme: "'http'", host: "'127.0.0.1'", authenticated: true, status: 200}
      - {scheme: "'http'", host: "'api.x'", authenticated: true, status: 301}
      - {scheme: "'http'", host: "'api.x'", authenticated: false, status: 200}
      - {scheme: null, host: "'api.x'", authenticated: true, status: 200}
    expect: {alerts: 0}
  - name: each host once
    rows: {generate: {n: 50, scheme: "'http'", host: "'api' || (i % 3) || '.x'", authenticated: true, status: 200}}
    expect: {alerts: 3}
---*/
SELECT host, endpoint, scheme, auth_scheme, status
FROM events
WHERE scheme = 'http'
  AND authenticated
  AND status BETWEEN 200 AND 299
  AND host IS NOT NULL
  AND host NOT LIKE 'localhost%'
  AND host NOT LIKE '127.%'
  AND host NOT LIKE '[::1]%'
