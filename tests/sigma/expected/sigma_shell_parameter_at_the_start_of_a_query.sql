/*---
# Converted from: "a Sigma rule"
# Licence: "none named; SigmaHQ's rules (https://github.com/SigmaHQ/sigma) are under the Detection Rule License 1.1, https://github.com/SigmaHQ/Detection-Rule-License"
schema: rule/v1
id: 6b0a4f0e-31f4-4c58-9d5f-0a5b8f0c1a02
name: sigma_shell_parameter_at_the_start_of_a_query
version: 1
title: "Shell parameter at the start of a query"
status: stable
severity: medium
description: ""
author: ""
alert: {title: "{identity}: Shell parameter at the start of a query (a Sigma rule)"}
tests: [{"name": "a query begins so", "rows": [{"path": "'/a'", "query": "'cmd=id'"}], "expect": {"alerts": 1}}, {"name": "a path begins so", "rows": [{"path": "'/cgi-bin/a'"}], "expect": {"alerts": 1}}, {"name": "no query", "rows": [{"path": "'/a.phtml'"}], "expect": {"alerts": 1}}, {"name": "not at the start", "rows": [{"path": "'/x/cgi-bin/'", "query": "'a=1&cmd=id'"}, {"path": "'/a.phtml'", "query": "'b'"}], "expect": {"alerts": 0}}]
---*/
SELECT identity, endpoint, method, host, path, query, status, client_ip, user_agent
FROM (SELECT *, lower(concat(path, '?' || query)) AS target FROM events)
WHERE query ILIKE 'cmd=%'
  OR starts_with(target, '/cgi-bin/')
  OR ((query IS NULL
      OR query = '')
    AND path ILIKE '%.phtml')
