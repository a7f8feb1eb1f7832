/*---
# Converted from: "a Sigma rule"
# Licence: "none named; SigmaHQ's rules (https://github.com/SigmaHQ/sigma) are under the Detection Rule License 1.1, https://github.com/SigmaHQ/Detection-Rule-License"
schema: rule/v1
id: 704b7824-fde6-8e59-ab08-6c985b7db71a
name: sigma_much_exported_in_an_hour
version: 1
title: "Much exported in an hour"
status: stable
severity: medium
description: ""
author: ""
alert: {title: "{identity}: Much exported in an hour (a Sigma rule)"}
tests: [{"name": "within", "rows": {"generate": {"n": 3, "every": "1s", "identity": "'bob'", "path": "'/export/a'", "response_bytes": 400}}, "expect": {"alerts": 1}}, {"name": "below and above", "rows": [{"identity": "'bob'", "path": "'/export/a'", "response_bytes": 999}, {"identity": "'eve'", "path": "'/export/a'", "response_bytes": 9000}], "expect": {"alerts": 0}}]
lateness: 1m
suppress: {by: [identity], for: 1h, update: true}
---*/
SELECT identity, window_start, window_end, sum(response_bytes) AS n
FROM HOP(events, event_time, INTERVAL '3 minutes', INTERVAL '1 hours')
WHERE path ILIKE '/export/%'
  AND (client_ip ILIKE '192.0.2.7') IS NOT TRUE
  AND (user_agent ILIKE 'Reporter/%') IS NOT TRUE
GROUP BY identity, window_start, window_end
HAVING sum(response_bytes) >= 1000 AND sum(response_bytes) < 5000
