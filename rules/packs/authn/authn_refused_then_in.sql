/*---
schema: rule/v1
id: bf3067f8-bffb-54e8-99f5-e66bc45bda0c
name: authn_refused_then_in
version: 1
title: A caller is refused again and again, and then let in
status: test
severity: high
confidence: 0.4
description: >
  Ten answers 401 to one address, with no other call in between but more of them, and then a call that is served: what guessing
  or stuffing of credentials looks like where it succeeds. The address is the key, as who fails to log in has no name yet.
author: tollwatch
date: 2026-11-25
tags: [owasp.api2-2023, attack.t1110.004, cwe.307]
references: [https://owasp.org/API-Security/editions/2023/en/0xa2-broken-authentication/]
falsepositives: [a client whose token ran out and that asks again until a person has signed in, many people behind one address]
compliance: [nist-csf-2.0:DE.AE-02]
remediation: Limit attempts by account and by address, ask for a second factor, and end the sessions that were opened.
requires: [client_ip]
params:
  refusals: {type: int, default: 401, min: 400, max: 499, description: status of a refusal}
within: 15m
suppress: {by: [client_ip], for: 24h, update: true}
alert:
  title: "{client_ip} was refused {refused} times and then let in at {endpoint}"
  evidence: {limit: 5}
tests:
  - name: ten refusals and a success
    rows:
      - {generate: {n: 10, every: 5s, client_ip: "'192.0.2.7'", status: 401, endpoint: "'POST api.x/login'"}}
      - {generate: {n: 1, client_ip: "'192.0.2.7'", status: 200, endpoint: "'POST api.x/login'"}}
    expect: {alerts: 1, rows: [{client_ip: 192.0.2.7, refused: 10}], title: "192.0.2.7 was refused 10 times and then let in at POST api.x/login"}
  - name: nine refusals are a bad memory
    rows:
      - {generate: {n: 9, every: 5s, client_ip: "'192.0.2.7'", status: 401, endpoint: "'POST api.x/login'"}}
      - {generate: {n: 1, client_ip: "'192.0.2.7'", status: 200, endpoint: "'POST api.x/login'"}}
    expect: {alerts: 0}
  - name: refusals of others are not its own
    rows:
      - {generate: {n: 20, every: 5s, client_ip: "'192.0.2.' || (i % 4)", status: 401, endpoint: "'POST api.x/login'"}}
      - {generate: {n: 1, client_ip: "'192.0.2.7'", status: 200, endpoint: "'POST api.x/login'"}}
    expect: {alerts: 0}
  - name: refusals that never end in a success
    rows: {generate: {n: 500, every: 1s, client_ip: "'192.0.2.7'", status: 401, endpoint: "'POST api.x/login'"}}
    expect: {alerts: 0}
---*/
WITH answered AS (SELECT * FROM events WHERE client_ip IS NOT NULL AND (status = $refusals OR status < 400))
SELECT client_ip, identity, refused, endpoint, match_start, match_end
FROM answered MATCH_RECOGNIZE (
  PARTITION BY client_ip
  MEASURES COUNT(refused.*) AS refused, LAST(served.identity) AS identity, LAST(served.endpoint) AS endpoint
  PATTERN (refused{10,} served)
  DEFINE refused AS status = $refusals, served AS status < 400
)
