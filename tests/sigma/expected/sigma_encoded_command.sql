/*---
# Converted from: "a Sigma rule"
# Licence: "none named; SigmaHQ's rules (https://github.com/SigmaHQ/sigma) are under the Detection Rule License 1.1, https://github.com/SigmaHQ/Detection-Rule-License"
schema: rule/v1
id: 6b0a4f0e-31f4-4c58-9d5f-0a5b8f0c1b02
name: sigma_encoded_command
version: 1
title: "Encoded command"
status: stable
severity: medium
description: ""
author: ""
alert: {title: "{identity}: Encoded command (a Sigma rule)"}
tests: [{"name": "at the start", "rows": [{"path": "'/'", "query": "'a=L2Jpbi9zaA=='"}], "expect": {"alerts": 1}}, {"name": "one byte in", "rows": [{"path": "'/'", "query": "'a=eC9iaW4vc2g='"}], "expect": {"alerts": 1}}, {"name": "two bytes in", "rows": [{"path": "'/'", "query": "'a=eHgvYmluL3No'"}], "expect": {"alerts": 1}}, {"name": "in two bytes a character", "rows": [{"path": "'/'", "query": "'a=dwBoAG8AYQBtAGkA'"}], "expect": {"alerts": 1}}, {"name": "not encoded", "rows": [{"path": "'/'", "query": "'a=/bin/sh'"}], "expect": {"alerts": 0}}]
---*/
SELECT identity, endpoint, method, host, path, query, status, client_ip, user_agent
FROM (SELECT *, lower(concat(path, '?' || query)) AS target FROM events)
WHERE contains(target, 'l2jpbi9za')
  OR contains(target, '9iaw4vc2')
  OR contains(target, 'vymlul3no')
  OR contains(target, 'dwboag8ayqbtagka')
  OR contains(target, 'caaabvageabqbpa')
  OR contains(target, '3aggabwbhag0aaq')
