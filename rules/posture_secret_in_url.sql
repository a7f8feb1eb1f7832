/*---
schema: rule/v1
id: 35e7abca-900a-4206-b2e1-9f276ef4213d
name: posture_secret_in_url
version: 1
title: A secret travels in the URL
status: stable
severity: medium
confidence: 0.8
description: >
  A call that was accepted carried a token, key or password as a query parameter. URLs are written to logs, histories and
  Referer headers of everyone on the way. The value is redacted before tollwatch keeps it; the parameter's name is shown.
author: tollwatch
date: 2026-01-15
tags: [owasp.api8-2023, owasp.api2-2023, cwe.598]
references: [https://cwe.mitre.org/data/definitions/598.html]
falsepositives: [pre-signed links that are short-lived by design, a parameter that is only called token]
compliance: [pci-dss-4.0.1:8.3.2, nist-csf-2.0:PR.DS-02]
remediation: Take the secret in a header or the body, refuse it in the query, and replace those that were seen.
requires: [url_secret]
suppress: {by: [endpoint, parameter], for: 24h, update: true}
alert:
  title: "{endpoint} takes a secret in the URL parameter {parameter}"
  evidence: {limit: 5}
tests:
  - name: a key in the query is one case an endpoint
    rows: {generate: {n: 40, endpoint: "'GET api.x/export'", url_secret: "'api_key'", status: 200}}
    expect: {alerts: 1, rows: [{parameter: api_key}], title: "GET api.x/export takes a secret in the URL parameter api_key"}
  - name: no secret, nothing to say
    rows: {generate: {n: 40, endpoint: "'GET api.x/export'", status: 200}}
    expect: {alerts: 0}
  - name: a refused call is the server doing its part
    rows:
      - {endpoint: "'GET api.x/export'", url_secret: "'api_key'", status: 400}
      - {endpoint: "'GET api.x/import'", url_secret: "'api_key'", status: 399}
    expect: {alerts: 1, rows: [{endpoint: GET api.x/import}]}
---*/
SELECT endpoint, url_secret AS parameter, host, client_ip, user_agent, status
FROM events
WHERE url_secret IS NOT NULL
  AND status < 400
