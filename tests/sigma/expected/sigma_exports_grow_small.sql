/*---
# Converted from: "a Sigma rule"
# Licence: "none named; SigmaHQ's rules (https://github.com/SigmaHQ/sigma) are under the Detection Rule License 1.1, https://github.com/SigmaHQ/Detection-Rule-License"
schema: rule/v1
id: 1bd4b406-157d-8ff4-ae46-075a3c703584
name: sigma_exports_grow_small
version: 1
title: "Exports grow small"
status: stable
severity: medium
description: ""
author: ""
alert: {title: "Exports grow small (a Sigma rule)"}
tests: [{"name": "small", "rows": [{"path": "'/export/a'", "response_bytes": 5}, {"path": "'/export/a'", "response_bytes": 15}], "expect": {"alerts": 1}}, {"name": "large", "rows": [{"path": "'/export/a'", "response_bytes": 50}], "expect": {"alerts": 0}}]
lateness: 1m
---*/
SELECT window_start, window_end, avg(response_bytes) AS n
FROM HOP(events, event_time, INTERVAL '3 seconds', INTERVAL '1 minutes')
WHERE path ILIKE '/export/%'
  AND (client_ip ILIKE '192.0.2.7') IS NOT TRUE
  AND (user_agent ILIKE 'Reporter/%') IS NOT TRUE
GROUP BY window_start, window_end
HAVING avg(response_bytes) <= 10
