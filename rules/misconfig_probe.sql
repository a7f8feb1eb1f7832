/*---
schema: rule/v1
id: ee463e47-88a7-4ee0-b504-e3ecc43a15a5
name: misconfig_probe
version: 1
title: One caller tries the API for misconfiguration
status: stable
severity: medium
confidence: 0.8
description: >
  The caller sends what only a search for weaknesses sends: known bad paths, tampered verbs, method overrides, debug
  parameters, normalisation tricks, strange hosts and origins, ids named twice, walked versions, input that makes the server fail.
  Each counts once per caller and value, and the evidence alarms on the odds of the operator's false-alert promise, loud or
  quiet, logged in or not.
author: tollwatch
date: 2026-01-15
tags: [owasp.api8-2023, cwe.16, attack.t1595.002, attack.reconnaissance]
references: [https://owasp.org/API-Security/editions/2023/en/0xa8-security-misconfiguration/]
falsepositives: [your own vulnerability scanner, a penetration test, a broken client that mixes up paths]
compliance: [pci-dss-4.0.1:11.5.1, nist-csf-2.0:DE.CM-01]
remediation: >
  Look at which of the probes were answered with success: those are findings of their own. Block or slow down the caller; if
  it is your scanner, add an exception for its identity with an end.
requires: [probe_class]
suppress: {by: [identity], for: 24h, update: true}
alert:
  title: "{identity} probes the API: {probe_classes} ({probe_count} probes)"
  evidence: {limit: 5}
tests:
  - name: a scan is one case
    rows: {generate: {n: 30, every: 200ms, identity: "'ip:203.0.113.9'", endpoint: "'GET api.x/.env'", probe_class: "'known_bad_path'", probe_classes: "'known_bad_path,method_tampering'", probe_count: i + 1, probe_alarm: i >= 10}}
    expect: {alerts: 1, rows: [{probe_count: 11}], title: "ip:203.0.113.9 probes the API: known_bad_path,method_tampering (11 probes)"}
  - name: one odd path is no scan
    rows: {generate: {n: 1, identity: "'alice'", probe_class: "'known_bad_path'", probe_count: 1, probe_alarm: false}}
    expect: {alerts: 0}
  - name: a day later it is a new case
    rows:
      - {at: 0s, identity: "'ip:203.0.113.9'", probe_alarm: true}
      - {at: 86399s, identity: "'ip:203.0.113.9'", probe_alarm: true}
      - {at: 86400s, identity: "'ip:203.0.113.9'", probe_alarm: true}
    expect: {alerts: 2}
---*/
SELECT identity, identity_quality, authenticated, client_ip, endpoint,
       probe_class, probe_classes, probe_count, probe_evidence
FROM events
WHERE probe_alarm
