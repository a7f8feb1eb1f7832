/*---
# Converted from: "a Sigma rule"
# Licence: "none named; SigmaHQ's rules (https://github.com/SigmaHQ/sigma) are under the Detection Rule License 1.1, https://github.com/SigmaHQ/Detection-Rule-License"
schema: rule/v1
id: 6b0a4f0e-31f4-4c58-9d5f-0a5b8f0c1b05
name: sigma_words_anywhere_in_the_line
version: 1
title: "Words anywhere in the line"
status: stable
severity: medium
description: ""
author: ""
alert: {title: "{identity}: Words anywhere in the line (a Sigma rule)"}
tests: [{"name": "all of them", "rows": [{"method": "'POST'", "path": "'/'", "status": 500, "user_agent": "'${JNDI:ldap}'"}], "expect": {"alerts": 1}}, {"name": "one of them", "rows": [{"method": "'GET'", "path": "'/debug'", "status": 200}], "expect": {"alerts": 1}}, {"name": "in a query", "rows": [{"method": "'GET'", "path": "'/'", "query": "'xyz marker'"}], "expect": {"alerts": 1}}, {"name": "not all of them", "rows": [{"method": "'POST'", "path": "'/'", "status": 200, "user_agent": "'${jndi:ldap}'"}, {"method": "'GET'", "path": "'/debugger'"}], "expect": {"alerts": 0}}]
---*/
SELECT identity, endpoint, method, host, path, query, status, client_ip, user_agent
FROM (SELECT *, lower(concat_ws(' ', client_ip, identity, method, concat(path, '?' || query), CAST(status AS VARCHAR), referer, user_agent)) AS line FROM events)
WHERE (contains(line, 'post')
    AND contains(line, '500')
    AND line LIKE '%${jndi:%}%')
  OR contains(line, ' /debug ')
  OR line LIKE '%x_z marker%'
