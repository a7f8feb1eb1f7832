/*---
# Converted from: "a Sigma rule"
# Licence: "none named; SigmaHQ's rules (https://github.com/SigmaHQ/sigma) are under the Detection Rule License 1.1, https://github.com/SigmaHQ/Detection-Rule-License"
schema: rule/v1
id: 6b0a4f0e-31f4-4c58-9d5f-0a5b8f0c1c03
name: sigma_large_export
version: 1
title: "Large export"
status: stable
severity: medium
description: ""
author: ""
exceptions: [
  {when: "client_ip ILIKE '192.0.2.7' OR user_agent ILIKE 'Reporter/%'", reason: "Sigma filter: The office", owner: "platform team", expires: "9999-12-31"}]
alert: {title: "{identity}: Large export (a Sigma rule)"}
tests: [{"name": "an export", "rows": [{"path": "'/export/a'"}], "expect": {"alerts": 1}}, {"name": "of the reporting service", "rows": [{"path": "'/export/a'", "user_agent": "'Reporter/2'"}], "expect": {"alerts": 0}}]
---*/
SELECT identity, endpoint, method, host, path, query, status, client_ip, user_agent
FROM events
WHERE path ILIKE '/export/%'
