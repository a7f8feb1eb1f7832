/*---
schema: rule/v1
id: 0f0c3c1f-2c2f-4a54-9b0e-6a6f6b0f7d11
name: misconfig_probe_spread
version: 2
title: Many callers probe a host, each a little
status: stable
severity: high
confidence: 0.8
description: >
  Callers with credentials, one after the other, send probes that nobody has sent to this host before, each so few that none of
  them is told alone. A caller counts once a day and a probe once ever; how many are too many follows from the host's own past
  and the operator's false-alert promise. Accounts that were taken over in a row look like this, and so do rotated tokens.
author: tollwatch
date: 2026-11-26
tags: [owasp.api8-2023, cwe.16, attack.t1595.002, attack.reconnaissance]
references: [https://owasp.org/API-Security/editions/2023/en/0xa8-security-misconfiguration/]
falsepositives: [a test team with accounts of its own, a client with faults of many kinds that many people get on one day]
compliance: [pci-dss-4.0.1:11.5.1, nist-csf-2.0:DE.CM-01]
remediation: >
  Look at the samples in the finding's record: who are the callers, and what do they have in common? Lock accounts that were taken
  over, and look at what they were answered.
suppress: {by: [subject], for: 24h, update: true}
alert:
  title: "{identities} callers probe {subject}, each a little: {sample}"
tests:
  - name: a finding is a case
    rows: [{at: 0s, check: "'probe_spread'", change: "'opened'", subject: "'api.x'", identities: 9, record: "'{\"samples\": [{\"call\": \"GET /.env 404\"}]}'"}]
    expect: {alerts: 1, title: "9 callers probe api.x, each a little: GET /.env 404"}
  - name: other findings are none
    rows: [{at: 0s, check: "'old_tls'", change: "'opened'", subject: "'api.x'"}]
    expect: {alerts: 0}
  - name: a day later it is a new case
    rows:
      - {at: 0s, check: "'probe_spread'", change: "'opened'", subject: "'api.x'"}
      - {at: 86399s, check: "'probe_spread'", change: "'still_seen'", subject: "'api.x'"}
      - {at: 86400s, check: "'probe_spread'", change: "'still_seen'", subject: "'api.x'"}
    expect: {alerts: 2}
---*/
SELECT subject, endpoint, host, identities, bad AS alarms, json_get(record, 'samples[0].call') AS sample, record
FROM findings
WHERE "check" = 'probe_spread'
