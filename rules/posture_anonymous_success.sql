/*---
schema: rule/v1
id: 940081b2-9766-4b81-b9fc-d5b47a4df4b3
name: posture_anonymous_success
version: 1
title: An endpoint that asks for a login answered without one
status: stable
severity: medium
confidence: 0.7
description: >
  Nearly all successful calls of the endpoint carry credentials, and one without them succeeded too. Either the check is
  missing on one way in (a version, a host, a method), or the endpoint is meant to be open and should be listed as such.
author: tollwatch
date: 2026-01-15
tags: [owasp.api8-2023, owasp.api2-2023, cwe.306]
references: [https://owasp.org/API-Security/editions/2023/en/0xa8-security-misconfiguration/]
falsepositives: [an endpoint that is public by intent but mostly used by people who are logged in, "a gateway that logs the identity only of some plugins"]
compliance: [pci-dss-4.0.1:8.3.1, nist-csf-2.0:PR.AA-03]
remediation: Require authentication on every route to the endpoint; if it is public by intent, add an exception that says so.
requires: [authenticated, status]
params:
  min_events: {type: int, default: 200, min: 20, max: 1000000, description: events after which the habit of an endpoint is known}
  min_share: {type: float, default: 0.98, min: 0.5, max: 1, description: share of successful calls with credentials that makes it a habit}
suppress: {by: [endpoint], for: 24h, update: true}
alert:
  title: "{endpoint} answered a call without credentials ({endpoint_authenticated_share} of its calls have them)"
  evidence: {limit: 5}
tests:
  - name: one anonymous success among logged-in calls
    rows:
      - {endpoint: "'GET api.x/orders/{id}'", method: "'GET'", status: 200, authenticated: true, endpoint_events: 999, endpoint_authenticated_share: 1.0}
      - {endpoint: "'GET api.x/orders/{id}'", method: "'GET'", status: 200, authenticated: false, endpoint_events: 1000, endpoint_authenticated_share: 0.999}
      - {endpoint: "'GET api.x/orders/{id}'", method: "'GET'", status: 200, authenticated: false, endpoint_events: 1001, endpoint_authenticated_share: 0.998}
    expect: {alerts: 1, rows: [{endpoint: "GET api.x/orders/{id}"}]}
  - name: a refusal is what should happen
    rows: {generate: {n: 9, endpoint: "'GET api.x/orders/{id}'", method: "'GET'", status: 401, authenticated: false, endpoint_events: 1000, endpoint_authenticated_share: 1.0}}
    expect: {alerts: 0}
  - name: an open endpoint is open
    rows: {generate: {n: 9, endpoint: "'GET api.x/news'", method: "'GET'", status: 200, authenticated: false, endpoint_events: 1000, endpoint_authenticated_share: 0.9}}
    expect: {alerts: 0}
  - name: the habit is known from 200 events and 0.98 on
    rows:
      - {endpoint: "'a'", method: "'GET'", status: 200, endpoint_events: 199, endpoint_authenticated_share: 0.98}
      - {endpoint: "'b'", method: "'GET'", status: 200, endpoint_events: 200, endpoint_authenticated_share: 0.9799}
      - {endpoint: "'c'", method: "'GET'", status: 200, endpoint_events: 200, endpoint_authenticated_share: 0.98}
    expect: {alerts: 1, rows: [{endpoint: c}]}
  - name: a preflight carries no credentials by design
    rows: {generate: {n: 9, endpoint: "'OPTIONS api.x/orders'", method: "'OPTIONS'", status: 204, endpoint_events: 1000, endpoint_authenticated_share: 1.0}}
    expect: {alerts: 0}
---*/
SELECT endpoint, host, client_ip, status, endpoint_events, endpoint_authenticated_share
FROM events
WHERE NOT authenticated
  AND status BETWEEN 200 AND 299
  AND method NOT IN ('OPTIONS', 'HEAD')
  AND endpoint_events >= $min_events
  AND endpoint_authenticated_share >= $min_share
