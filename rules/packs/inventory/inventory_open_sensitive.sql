/*---
schema: rule/v1
id: 3e5c8f0a-9d17-5b26-b8d4-6a1c0f2e7d93
name: inventory_open_sensitive
version: 1
title: A new endpoint answers callers nobody knows with what sounds sensitive
status: test
severity: high
confidence: 0.6
description: >
  An endpoint that came into the inventory, or was called again, has answered calls without a known caller with success, and the names of
  its path and parameters hint at credentials, payments, health or documents of identity. Hints are words: nobody has seen the bodies.
author: tollwatch
date: 2026-11-26
tags: [owasp.api9-2023, owasp.api2-2023, cwe.306]
references: [https://owasp.org/API-Security/editions/2023/en/0xa9-improper-inventory-management/]
falsepositives: [a page that asks for a credential and gives none, an address list that is meant to be public]
remediation: Ask for a caller there, or say in its documentation that it is public.
requires: [authenticated]
params:
  least: {type: int, default: 3, min: 1, max: 1000000, description: answers without a known caller that are no accident}
suppress: {by: [endpoint], for: 7d}
alert:
  title: "{endpoint} answered {anonymous_answered} calls of nobody ({sensitive})"
tests:
  - name: payments for everybody
    rows:
      - {at: 0s, kind: "'endpoint'", standing: "'answered'", endpoint: "'GET api.x /cards/{id}'", host: "'api.x'", anonymous_answered: 2, sensitive: "'payment'"}
      - {at: 60s, kind: "'endpoint'", standing: "'answered'", endpoint: "'GET api.x /cards/{id}'", host: "'api.x'", anonymous_answered: 3, sensitive: "'payment'"}
      - {at: 120s, kind: "'endpoint'", standing: "'answered'", endpoint: "'GET api.x /cards/{id}'", host: "'api.x'", anonymous_answered: 9, sensitive: "'payment'"}
    expect: {alerts: 1, rows: [{endpoint: "GET api.x /cards/{id}", anonymous_answered: 3}]}
  - name: refused
    rows: {at: 0s, kind: "'endpoint'", standing: "'refused'", endpoint: "'GET api.x /cards/{id}'", anonymous_answered: 0, sensitive: "'payment'"}
    expect: {alerts: 0}
  - name: nothing sensitive
    rows: {at: 0s, kind: "'endpoint'", standing: "'answered'", endpoint: "'GET api.x /news'", anonymous_answered: 100, sensitive: "'location'"}
    expect: {alerts: 0}
---*/
SELECT endpoint, host, sensitive, anonymous_answered
FROM inventory
WHERE kind = 'endpoint' AND standing = 'answered' AND anonymous_answered >= $least
  AND (sensitive LIKE '%credential%' OR sensitive LIKE '%payment%' OR sensitive LIKE '%health%' OR sensitive LIKE '%identity_document%')
