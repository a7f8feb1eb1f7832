/*---
# Converted from: "a Sigma rule"
# Licence: "none named; SigmaHQ's rules (https://github.com/SigmaHQ/sigma) are under the Detection Rule License 1.1, https://github.com/SigmaHQ/Detection-Rule-License"
schema: rule/v1
id: 6b0a4f0e-31f4-4c58-9d5f-0a5b8f0c1b06
name: sigma_nested_conditions
version: 1
title: "Nested conditions"
status: test
severity: critical
description: ""
author: ""
alert: {title: "{identity}: Nested conditions (a Sigma rule)"}
tests: [{"name": "a probe", "rows": [{"path": "'/api/x'", "query": "'trace=1'", "host": "'a.example'"}], "expect": {"alerts": 1}}, {"name": "allowed or no probe", "rows": [{"path": "'/api/x'", "query": "'debug=1'", "host": "'b.example'", "user_agent": "'Probe'"}, {"path": "'/api/x'"}], "expect": {"alerts": 0}}]
---*/
SELECT identity, endpoint, method, host, path, query, status, client_ip, user_agent
FROM (SELECT *, lower(concat(path, '?' || query)) AS target FROM events)
WHERE path ILIKE '/api/%'
  AND (contains(target, 'debug=')
    OR contains(target, 'trace='))
  AND (contains(lower(user_agent), 'probe')
    AND (host ILIKE 'a.example'
      OR host ILIKE 'b.example')) IS NOT TRUE
