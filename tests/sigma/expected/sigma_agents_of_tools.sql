/*---
# Converted from: "Sigma rule by O'Hara, \"Q\""
# Licence: "none named; SigmaHQ's rules (https://github.com/SigmaHQ/sigma) are under the Detection Rule License 1.1, https://github.com/SigmaHQ/Detection-Rule-License"
schema: rule/v1
id: 6b0a4f0e-31f4-4c58-9d5f-0a5b8f0c1b01
name: sigma_agents_of_tools
version: 1
title: "Agents of tools"
status: stable
severity: medium
description: ""
author: "O'Hara, \"Q\""
requires: [user_agent]
alert: {title: "{identity}: Agents of tools (Sigma rule by O'Hara, \"Q\")"}
tests: [{"name": "one character and a rest", "rows": [{"user_agent": "'It''s/2.x'"}], "expect": {"alerts": 1}}, {"name": "an escaped backslash", "rows": [{"user_agent": "'back\\slash'"}], "expect": {"alerts": 1}}, {"name": "an escaped star", "rows": [{"user_agent": "'a*B'"}], "expect": {"alerts": 1}}, {"name": "backslashes before letters and at the end", "rows": [{"user_agent": "'C:\\Temp\\'"}], "expect": {"alerts": 1}}, {"name": "both words", "rows": [{"user_agent": "'a FAST scanner'"}], "expect": {"alerts": 1}}, {"name": "in its own case", "rows": [{"user_agent": "'Zap/1'"}], "expect": {"alerts": 1}}, {"name": "none", "rows": [{"user_agent": "'it''s/22.x'"}, {"user_agent": "'axb'"}, {"user_agent": "'scan'"}, {"user_agent": "'zap/1'"}, {"path": "'/'"}], "expect": {"alerts": 0}}]
---*/
SELECT identity, endpoint, method, host, path, query, status, client_ip, user_agent
FROM events
WHERE user_agent ILIKE 'it''s/_.%'
  OR user_agent ILIKE 'back\\slash'
  OR user_agent ILIKE 'a*b'
  OR user_agent ILIKE 'c:\\temp\\'
  OR (contains(lower(user_agent), 'scan')
    AND contains(lower(user_agent), 'fast'))
  OR user_agent LIKE 'Zap%'
