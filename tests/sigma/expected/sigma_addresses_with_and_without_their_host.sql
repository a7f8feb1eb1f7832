/*---
# Converted from: "a Sigma rule"
# Licence: "none named; SigmaHQ's rules (https://github.com/SigmaHQ/sigma) are under the Detection Rule License 1.1, https://github.com/SigmaHQ/Detection-Rule-License"
schema: rule/v1
id: 6b0a4f0e-31f4-4c58-9d5f-0a5b8f0c1a04
name: sigma_addresses_with_and_without_their_host
version: 1
title: "Addresses with and without their host"
status: stable
severity: medium
description: ""
author: ""
alert: {title: "{identity}: Addresses with and without their host (a Sigma rule)"}
tests: [{"name": "host and path", "rows": [{"scheme": "'https'", "host": "'files.example.com'", "path": "'/a'"}], "expect": {"alerts": 1}}, {"name": "a target", "rows": [{"host": "'other'", "path": "'/drop/off'"}], "expect": {"alerts": 1}}, {"name": "a regular expression", "rows": [{"host": "'Example.com'", "path": "'/123'"}], "expect": {"alerts": 1}}, {"name": "none", "rows": [{"host": "'example.com'", "path": "'/1234'"}, {"path": "'/files.example.com/'"}, {"path": "'/drop/off'", "query": "'a'"}], "expect": {"alerts": 0}}]
---*/
SELECT identity, endpoint, method, host, path, query, status, client_ip, user_agent
FROM (SELECT *, lower(concat(scheme, '://', host, path, '?' || query)) AS url, lower(concat(path, '?' || query)) AS target FROM events)
WHERE contains(url, '://files.example.com/')
  OR target = '/drop/off'
  OR concat(scheme, '://', host, path, '?' || query) ~ '(?i)example\.com/[0-9]{3}$'
