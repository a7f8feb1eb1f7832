/*---
schema: rule/v1
id: 74c637ca-ec46-4e45-bd91-69131dbdf663
name: posture_cors_any_origin
version: 1
title: CORS lets any origin use the credentials of a visitor
status: stable
severity: medium
confidence: 0.8
description: >
  A host answers with Access-Control-Allow-Credentials true and lets any origin in: `*` or `null` outright, or whatever Origin
  it was sent. One reflected origin may be on a list, so reflection counts from several different origins within an hour.
author: tollwatch
date: 2026-01-15
tags: [owasp.api8-2023, cwe.942]
references: [https://owasp.org/API-Security/editions/2023/en/0xa8-security-misconfiguration/]
falsepositives: [a product with more front ends than the parameter allows]
compliance: [pci-dss-4.0.1:2.2.1, nist-csf-2.0:PR.PS-01]
remediation: Compare the Origin with a fixed list, and send Access-Control-Allow-Credentials only to those on it.
requires: [origin, allow_origin, allow_credentials]
params:
  min_origins: {type: int, default: 5, min: 2, max: 1000, description: different origins let in that no list would explain}
suppress: {by: [host], for: 24h, update: true}
alert:
  title: "{host} lets any origin use its visitors' credentials ({origins} origins reflected)"
  evidence: {limit: 5}
tests:
  - name: every origin is reflected
    rows: {generate: {n: 20, host: "'api.x'", origin: "'https://evil' || i", allow_origin: "'https://evil' || i", allow_credentials: "'true'", status: 200}}
    expect: {alerts: 1, rows: [{host: api.x, origins: 5, wildcards: 0}]}
  - name: a list with four front ends
    rows: {generate: {n: 20, host: "'api.x'", origin: "'https://app' || (i % 4)", allow_origin: "'https://app' || (i % 4)", allow_credentials: "'true'", status: 200}}
    expect: {alerts: 0}
  - name: one star with credentials is enough
    rows: {generate: {n: 3, host: "'api.x'", origin: "'https://a'", allow_origin: "'*'", allow_credentials: "'TRUE'", status: 200}}
    expect: {alerts: 1, rows: [{wildcards: 1}]}
  - name: a star without credentials is a public resource
    rows: {generate: {n: 20, host: "'cdn.x'", origin: "'https://evil' || i", allow_origin: "'*'", status: 200}}
    expect: {alerts: 0}
---*/
SELECT host, window_start, window_end,
       count(*) FILTER (WHERE allow_origin IN ('*', 'null')) AS wildcards,
       count(DISTINCT origin) FILTER (WHERE allow_origin = origin) AS origins
FROM TUMBLE(events, event_time, INTERVAL '1 hour')
WHERE status < 400
  AND allow_origin IS NOT NULL
  AND lower(allow_credentials) = 'true'
GROUP BY host, window_start, window_end
HAVING count(*) FILTER (WHERE allow_origin IN ('*', 'null')) >= 1
    OR count(DISTINCT origin) FILTER (WHERE allow_origin = origin) >= $min_origins
