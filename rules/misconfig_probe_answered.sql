/*---
schema: rule/v1
id: 5c0b8e0e-6c1d-4a3f-9d0a-2f4f6d1b7a92
name: misconfig_probe_answered
version: 1
title: A caller that probes the API was let in
status: stable
severity: high
confidence: 0.9
description: >
  The caller's probing has reached the odds of the operator's false-alert promise, and on the same day one of its probes was answered
  2xx at an endpoint where nobody was ever answered before, after others were refused: a known bad path, an older version, another
  spelling. Where a service answers whatever it is asked, or others are answered there as well, nothing is told.
author: tollwatch
date: 2026-11-26
tags: [owasp.api8-2023, cwe.16, attack.t1595.002, attack.t1190, attack.initial_access]
references: [https://owasp.org/API-Security/editions/2023/en/0xa8-security-misconfiguration/]
falsepositives: [your own vulnerability scanner, a penetration test]
compliance: [pci-dss-4.0.1:11.5.1, nist-csf-2.0:DE.CM-01]
remediation: >
  Ask the endpoint what the caller asked, and close it if it should not have answered. See what it was told, and block the caller.
requires: [probe_class]
suppress: {by: [identity], for: 24h, update: true}
alert:
  title: "{identity} probes the API and was let in: {probe_classes} at {endpoint} ({probe_answered} answered)"
  evidence: {limit: 5}
tests:
  - name: told, then let in
    rows:
      - {at: 0s, identity: "'alice'", endpoint: "'GET api.x /v2/x'", probe_alarm: true, probe_breach: false}
      - {at: 1s, identity: "'alice'", endpoint: "'GET api.x /v1/x'", probe_classes: "'known_bad_path,version_walking'", probe_answered: 1, probe_breach: true}
    expect: {alerts: 1, title: "alice probes the API and was let in: known_bad_path,version_walking at GET api.x /v1/x (1 answered)"}
  - name: refused throughout
    rows: {generate: {n: 30, every: 1s, identity: "'alice'", probe_class: "'known_bad_path'", probe_alarm: true, probe_answered: 0, probe_breach: false}}
    expect: {alerts: 0}
  - name: a day later it is a new case
    rows:
      - {at: 0s, identity: "'alice'", probe_breach: true}
      - {at: 86399s, identity: "'alice'", probe_breach: true}
      - {at: 86400s, identity: "'alice'", probe_breach: true}
    expect: {alerts: 2}
---*/
SELECT identity, identity_quality, authenticated, client_ip, endpoint, status,
       probe_class, probe_classes, probe_count, probe_answered, probe_evidence
FROM events
WHERE probe_breach
