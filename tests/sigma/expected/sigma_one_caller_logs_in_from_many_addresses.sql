/*---
# Converted from: "a Sigma rule"
# Licence: "none named; SigmaHQ's rules (https://github.com/SigmaHQ/sigma) are under the Detection Rule License 1.1, https://github.com/SigmaHQ/Detection-Rule-License"
schema: rule/v1
id: 79c74fd9-28b0-8839-947c-c60eb34e4b29
name: sigma_one_caller_logs_in_from_many_addresses
version: 1
title: "One caller logs in from many addresses"
status: stable
severity: medium
description: ""
author: ""
requires: [status]
alert: {title: "{identity}: One caller logs in from many addresses (a Sigma rule)"}
tests: [{"name": "four", "rows": {"generate": {"n": 4, "every": "1m", "identity": "'bob'", "client_ip": "concat('192.0.2.', CAST(i AS VARCHAR))", "method": "'POST'", "path": "'/login'", "status": 200}}, "expect": {"alerts": 1, "rows": [{"n": 4}]}}, {"name": "three", "rows": {"generate": {"n": 30, "every": "1m", "identity": "'bob'", "client_ip": "concat('192.0.2.', CAST(i % 3 AS VARCHAR))", "method": "'POST'", "path": "'/login'", "status": 200}}, "expect": {"alerts": 0}}]
lateness: 1m
emit: first_crossing
suppress: {by: [identity], for: 1h, update: true}
---*/
SELECT identity, window_start, window_end, count(DISTINCT client_ip) AS n
FROM HOP(events, event_time, INTERVAL '3 minutes', INTERVAL '1 hours')
WHERE method ILIKE 'POST'
  AND path ILIKE '/login'
  AND status = 200
GROUP BY identity, window_start, window_end
HAVING count(DISTINCT client_ip) > 3
