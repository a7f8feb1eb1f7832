/*---
schema: rule/v1
id: 5a4b20e4-5d64-5a1f-815c-3c7ecbd6747a
name: agent_tool_loop
version: 1
title: An agent calls one tool over and over
status: test
severity: low
confidence: 0.4
description: >
  One caller calls one MCP tool or GraphQL field three hundred times in five minutes: a loop that costs money and hides whatever else it does.
author: tollwatch
date: 2026-11-25
tags: [owasp.api4-2023, owasp.api6-2023, cwe.834]
references: [https://owasp.org/API-Security/editions/2023/en/0xa6-unrestricted-access-to-sensitive-business-flows/]
falsepositives: [a batch job that was meant to call so often]
compliance: [nist-csf-2.0:DE.AE-02]
remediation: Give agents a budget of calls, and stop those that spend it on one tool.
requires: [identity, tool]
params:
  calls: {type: int, default: 300, min: 10, max: 1000000, description: calls of one tool in five minutes that are still usual}
emit: first_crossing
lateness: 1m
suppress: {by: [identity, tool], for: 24h, update: true}
alert:
  title: "{identity} called {tool} {calls} times within five minutes"
  evidence: {limit: 5}
tests:
  - name: a loop
    rows: {generate: {n: 301, every: 500ms, identity: "'agent-7'", tool: "'search'", status: 200}}
    expect: {alerts: 1, rows: [{identity: agent-7, tool: search, calls: 301}]}
  - name: three hundred are work
    rows: {generate: {n: 300, every: 500ms, identity: "'agent-7'", tool: "'search'", status: 200}}
    expect: {alerts: 0}
  - name: many tools are no loop
    rows: {generate: {n: 900, every: 200ms, identity: "'agent-7'", tool: "'tool-' || (i % 4)", status: 200}}
    expect: {alerts: 0}
---*/
SELECT identity, tool, window_start, window_end, count(*) AS calls
FROM HOP(events, event_time, INTERVAL '10 seconds', INTERVAL '5 minutes')
WHERE tool IS NOT NULL
GROUP BY identity, tool, window_start, window_end
HAVING count(*) > $calls
