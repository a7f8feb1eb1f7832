/*---
schema: rule/v1
id: be64af57-9d44-45ce-bf7e-bb851634dec2
name: posture_server_banner
version: 2
title: A host tells the version of its server
status: stable
severity: informational
confidence: 0.9
description: >
  The Server or X-Powered-By header names a product with its version. It saves an attacker the search for what the host is
  vulnerable to. Only answers with success count: whoever calls a host that is not served here chooses its name.
author: tollwatch
date: 2026-01-15
modified: 2026-11-24
tags: [owasp.api8-2023, cwe.200, attack.t1592.002]
references: [https://owasp.org/API-Security/editions/2023/en/0xa8-security-misconfiguration/]
falsepositives: [a version that is made up on purpose]
compliance: [pci-dss-4.0.1:2.2.1, nist-csf-2.0:PR.PS-01]
remediation: Switch the banner off (server_tokens off, ServerTokens Prod, expose_php off) or strip the headers at the gateway.
requires: [server]
suppress: {by: [host, server, powered_by], for: 24h}
alert:
  title: "{host} tells its version: {server} {powered_by}"
  evidence: {limit: 2}
tests:
  - name: nginx with its version, once a host
    rows: {generate: {n: 30, host: "'api.x'", server: "'nginx/1.25.3'", status: 200}}
    expect: {alerts: 1, rows: [{server: nginx/1.25.3}], title: "api.x tells its version: nginx/1.25.3 -"}
  - name: a name without a version is fine
    rows:
      - {host: "'api.x'", server: "'nginx'", status: 200}
      - {host: "'api.x'", server: "'cloudflare'", powered_by: "'Express'", status: 200}
      - {host: "'api.x'", status: 200}
      - {host: "'api.x'", server: "'edge/7'", status: 200}
    expect: {alerts: 0}
  - name: a host that is not served here is the caller's invention
    rows: {generate: {n: 30, host: "'made-up-' || i", server: "'nginx/1.25.3'", status: 404}}
    expect: {alerts: 0}
  - name: X-Powered-By counts too
    rows: {generate: {n: 3, host: "'api.x'", server: "'nginx'", powered_by: "'PHP/8.1.2'", status: 200}}
    expect: {alerts: 1}
---*/
SELECT host, server, powered_by
FROM events
WHERE status < 400
  AND (server LIKE '%/%' OR powered_by IS NOT NULL)
  AND (server ~ '[A-Za-z]/[0-9]+[.][0-9]' OR powered_by ~ '[0-9]+[.][0-9]')
