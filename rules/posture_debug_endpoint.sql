/*---
schema: rule/v1
id: 34462dd5-78dc-492d-bcf0-f958d812caed
name: posture_debug_endpoint
version: 1
title: A debug or administration endpoint answers
status: stable
severity: medium
confidence: 0.6
description: >
  TRACE, or a path that exists for debugging and administration (Spring actuator, pprof, .env, .git, phpinfo and their like),
  was answered with success. These show configuration, memory or source to whoever asks.
author: tollwatch
date: 2026-01-15
tags: [owasp.api8-2023, owasp.api9-2023, cwe.489, cwe.693, attack.t1595.003]
references: [https://owasp.org/API-Security/editions/2023/en/0xa8-security-misconfiguration/]
falsepositives: [a single-page application that answers every path with its start page, your own monitoring on an internal host]
compliance: [pci-dss-4.0.1:2.2.4, nist-csf-2.0:PR.PS-01]
remediation: Remove the endpoint from what the gateway serves, or allow it to the monitoring network only; switch TRACE off.
requires: [path, status]
suppress: {by: [host, endpoint], for: 24h, update: true}
alert:
  title: "{endpoint} answers with {status}"
  evidence: {limit: 5}
tests:
  - name: heap dumps for everyone
    rows: {generate: {n: 4, endpoint: "'GET api.x/actuator/heapdump'", host: "'api.x'", method: "'GET'", path: "'/actuator/heapdump'", status: 200}}
    expect: {alerts: 1, title: "GET api.x/actuator/heapdump answers with 200"}
  - name: a probe that finds nothing
    rows: {generate: {n: 4, endpoint: "'GET api.x/.env'", method: "'GET'", path: "'/.env'", probe_class: "'known_bad_path'", status: 404}}
    expect: {alerts: 0}
  - name: what the probe detector knows counts too, and so does TRACE
    rows:
      - {endpoint: "'a'", method: "'GET'", path: "'/wp-config.php.bak'", probe_class: "'known_bad_path'", status: 200}
      - {endpoint: "'b'", method: "'TRACE'", path: "'/orders'", status: 200}
      - {endpoint: "'c'", method: "'GET'", path: "'/orders'", probe_class: "'verb_tampering'", status: 200}
    expect: {alerts: 2}
  - name: health and ordinary paths are quiet
    rows:
      - {endpoint: "'a'", method: "'GET'", path: "'/actuator/health'", status: 200}
      - {endpoint: "'b'", method: "'GET'", path: "'/debug'", status: 200}
      - {endpoint: "'c'", method: "'GET'", path: "'/environments'", status: 200}
    expect: {alerts: 0}
---*/
SELECT endpoint, host, method, path, status, authenticated, client_ip, probe_class
FROM events
WHERE status BETWEEN 200 AND 299
  AND (method = 'TRACE'
    OR probe_class = 'known_bad_path'
    OR path LIKE '/actuator/env%'
    OR path LIKE '/actuator/heapdump%'
    OR path LIKE '/actuator/configprops%'
    OR path LIKE '/debug/pprof%'
    OR path LIKE '/debug/vars%'
    OR path LIKE '/.env%'
    OR path LIKE '/.git/%'
    OR path LIKE '/phpinfo%'
    OR path LIKE '/server-status%'
    OR path LIKE '/h2-console%'
    OR path LIKE '/jolokia%')
