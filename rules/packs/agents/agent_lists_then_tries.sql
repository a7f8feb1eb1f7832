/*---
schema: rule/v1
id: e1c76d6d-3ecd-5974-a466-e85f3558459b
name: agent_lists_then_tries
version: 1
title: An agent lists tools and then is refused one after the other
status: test
severity: medium
confidence: 0.4
description: >
  A list of tools, then five refused calls of tools in a row, within ten minutes: an agent, or who steers it, looks for what it may do.
author: tollwatch
date: 2026-11-25
tags: [owasp.api5-2023, attack.t1087, cwe.285]
references: [https://owasp.org/API-Security/editions/2023/en/0xa5-broken-function-level-authorization/]
falsepositives: [an agent whose permissions were taken away, a tool server that is down and answers 403]
compliance: [nist-csf-2.0:DE.AE-02]
remediation: Show an agent the tools it may call and no others, and ask its owner.
requires: [identity, rpc_method, tool]
within: 10m
suppress: {by: [identity], for: 24h, update: true}
alert:
  title: "{identity} listed tools and was refused {refused} calls, the last of {tool}"
  evidence: {limit: 5}
tests:
  - name: listed, then refused five times
    rows:
      - {generate: {n: 1, identity: "'agent-7'", rpc_method: "'tools/list'", status: 200}}
      - {generate: {n: 5, every: 5s, identity: "'agent-7'", rpc_method: "'tools/call'", tool: "'t' || i", status: 403}}
    expect: {alerts: 1, rows: [{identity: agent-7, refused: 5}]}
  - name: refused four times
    rows:
      - {generate: {n: 1, identity: "'agent-7'", rpc_method: "'tools/list'", status: 200}}
      - {generate: {n: 4, every: 5s, identity: "'agent-7'", rpc_method: "'tools/call'", tool: "'t' || i", status: 403}}
    expect: {alerts: 0}
  - name: a call that is served ends it
    rows:
      - {generate: {n: 1, identity: "'agent-7'", rpc_method: "'tools/list'", status: 200}}
      - {generate: {n: 4, every: 5s, identity: "'agent-7'", rpc_method: "'tools/call'", tool: "'t' || i", status: 403}}
      - {generate: {n: 1, identity: "'agent-7'", rpc_method: "'tools/call'", tool: "'t9'", status: 200}}
      - {generate: {n: 1, identity: "'agent-7'", rpc_method: "'tools/call'", tool: "'t5'", status: 403}}
    expect: {alerts: 0}
---*/
WITH tools AS (SELECT * FROM events WHERE rpc_method IN ('tools/list', 'tools/call'))
SELECT identity, refused, tool, endpoint, match_start, match_end
FROM tools MATCH_RECOGNIZE (
  PARTITION BY identity
  MEASURES COUNT(refused.*) AS refused, LAST(refused.tool) AS tool, LAST(refused.endpoint) AS endpoint
  PATTERN (listed refused{5})
  DEFINE listed AS rpc_method = 'tools/list', refused AS rpc_method = 'tools/call' AND status IN (401, 403, 404)
)
