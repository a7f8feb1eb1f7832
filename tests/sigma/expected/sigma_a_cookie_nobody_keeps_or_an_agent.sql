/*---
# Converted from: "a Sigma rule"
# Licence: "none named; SigmaHQ's rules (https://github.com/SigmaHQ/sigma) are under the Detection Rule License 1.1, https://github.com/SigmaHQ/Detection-Rule-License"
schema: rule/v1
id: 6b0a4f0e-31f4-4c58-9d5f-0a5b8f0c1b07
name: sigma_a_cookie_nobody_keeps_or_an_agent
version: 1
title: "A cookie nobody keeps, or an agent"
status: stable
severity: medium
description: ""
author: ""
requires: [user_agent]
alert: {title: "{identity}: A cookie nobody keeps, or an agent (a Sigma rule)"}
tests: [{"name": "by its agent", "rows": [{"path": "'/'", "user_agent": "'beacon'"}], "expect": {"alerts": 1}}, {"name": "the cookie is not seen", "rows": [{"path": "'/beacon'"}], "expect": {"alerts": 0}}]
---*/
SELECT identity, endpoint, method, host, path, query, status, client_ip, user_agent
FROM events
WHERE user_agent ILIKE 'Beacon'
