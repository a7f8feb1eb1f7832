/*---
# Converted from: "a Sigma rule"
# Licence: "none named; SigmaHQ's rules (https://github.com/SigmaHQ/sigma) are under the Detection Rule License 1.1, https://github.com/SigmaHQ/Detection-Rule-License"
schema: rule/v1
id: 6b0a4f0e-31f4-4c58-9d5f-0a5b8f0c1b03
name: sigma_any_dash_before_a_switch
version: 1
title: "Any dash before a switch"
status: stable
severity: medium
description: ""
author: ""
alert: {title: "{identity}: Any dash before a switch (a Sigma rule)"}
tests: [{"name": "a dash", "rows": [{"path": "'/'", "query": "'x=CMD.exe -c well-known'"}], "expect": {"alerts": 1}}, {"name": "a slash", "rows": [{"path": "'/'", "query": "'x=cmd.exe /c well-known'"}], "expect": {"alerts": 1}}, {"name": "a long dash", "rows": [{"path": "'/'", "query": "'x=cmd.exe –c well-known'"}], "expect": {"alerts": 1}}, {"name": "other letters", "rows": [{"path": "'/'", "query": "'x=cmdxexe -c well-known'"}, {"path": "'/'", "query": "'x=cmd.exe -c well/known'"}], "expect": {"alerts": 0}}]
---*/
SELECT identity, endpoint, method, host, path, query, status, client_ip, user_agent
FROM events
WHERE concat(path, '?' || query) ~ '(?is)^.*cmd\.exe [-/–—―]c well\-known.*$'
