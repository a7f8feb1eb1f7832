/*---
schema: rule/v1
id: 97b62d97-4260-537f-80e8-6f4b9ab6e1d5
name: resources_inner_address
version: 1
title: A parameter points the server at an inner address
status: test
severity: high
confidence: 0.4
description: >
  A query parameter holds an address that only the server can reach: loopback, private networks, a cloud's metadata service. An answer without
  an error says that the server may have gone there (server side request forgery).
author: tollwatch
date: 2026-11-25
tags: [owasp.api7-2023, attack.t1190, cwe.918]
references: [https://owasp.org/API-Security/editions/2023/en/0xa7-server-side-request-forgery/]
falsepositives: [an inner tool whose callers mean such addresses]
compliance: [nist-csf-2.0:DE.AE-02]
remediation: Allow the hosts a parameter may name, resolve and check them on the server, and follow no redirect from there.
requires: [query]
suppress: {by: [endpoint, identity], for: 24h, update: true}
alert:
  title: "{identity} pointed {endpoint} at an inner address, answered {status}"
  evidence: {limit: 5}
tests:
  - name: the metadata service
    rows: {generate: {n: 3, identity: "'mallory'", endpoint: "'GET api.x/fetch'", query: "'url=http://169.254.169.254/latest/meta-data/'", status: 200}}
    expect: {alerts: 1, rows: [{identity: mallory}]}
  - name: encoded, and loopback
    rows: {generate: {n: 1, identity: "'mallory'", endpoint: "'GET api.x/fetch'", query: "'callback=https%3A%2F%2FLOCALHOST%3A8080%2Fadmin'", status: 202}}
    expect: {alerts: 1}
  - name: an outer address
    rows: {generate: {n: 3, identity: "'bob'", endpoint: "'GET api.x/fetch'", query: "'url=http://203.0.113.7/10.0.0.1'", status: 200}}
    expect: {alerts: 0}
  - name: refused, as it should be
    rows: {generate: {n: 3, identity: "'mallory'", endpoint: "'GET api.x/fetch'", query: "'url=http://127.0.0.1/'", status: 400}}
    expect: {alerts: 0}
---*/
SELECT identity, endpoint, status, client_ip, user_agent
FROM events
WHERE status < 400
  AND regexp_like(query, '=(https?|gopher|file|dict)(:|%3a)(/|%2f)(/|%2f)(localhost|127\.|10\.|192\.168\.|169\.254\.|172\.(1[6-9]|2[0-9]|3[01])\.|0\.0\.0\.0|\[::1\])', 'i')
