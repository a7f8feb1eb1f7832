/*---
# Converted from: "a Sigma rule"
# Licence: "none named; SigmaHQ's rules (https://github.com/SigmaHQ/sigma) are under the Detection Rule License 1.1, https://github.com/SigmaHQ/Detection-Rule-License"
schema: rule/v1
id: 6b0a4f0e-31f4-4c58-9d5f-0a5b8f0c1a03
name: sigma_download_of_a_program_from_a_throwaway_name
version: 1
title: "Download of a program from a throwaway name"
status: stable
severity: low
description: ""
author: ""
requires: [host, status]
alert: {title: "{identity}: Download of a program from a throwaway name (a Sigma rule)"}
tests: [{"name": "a program", "rows": [{"path": "'/a.b/c.EXE'", "host": "'x.Example.net'", "status": 200, "response_bytes": 5000}], "expect": {"alerts": 1}}, {"name": "a size nobody logged is not small", "rows": [{"path": "'/c.exe'", "host": "'x.example.net'", "status": 301}], "expect": {"alerts": 1}}, {"name": "another extension, host, status or size", "rows": [{"path": "'/exe'", "host": "'x.example.net'", "status": 200}, {"path": "'/a.exe/b'", "host": "'x.example.net'", "status": 200}, {"path": "'/a.exe'", "host": "'example.net'", "status": 200}, {"path": "'/a.exe'", "host": "'x.example.net'", "status": 310}, {"path": "'/a.exe'", "host": "'x.example.net'", "status": 200, "response_bytes": 10}], "expect": {"alerts": 0}}]
---*/
SELECT identity, endpoint, method, host, path, query, status, client_ip, user_agent
FROM events
WHERE (path ILIKE '%.exe'
    OR path ILIKE '%.ps1')
  AND host ILIKE '%.example.net'
  AND (status = 200
    OR CAST(status AS VARCHAR) ILIKE '30%')
  AND (response_bytes < 1000) IS NOT TRUE
