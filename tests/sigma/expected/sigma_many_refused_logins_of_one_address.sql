/*---
# Converted from: "Sigma rule by tollwatch"
# Licence: "none named; SigmaHQ's rules (https://github.com/SigmaHQ/sigma) are under the Detection Rule License 1.1, https://github.com/SigmaHQ/Detection-Rule-License"
schema: rule/v1
id: 6b0a4f0e-31f4-4c58-9d5f-0a5b8f0c1c02
name: sigma_many_refused_logins_of_one_address
version: 1
title: "Many refused logins of one address"
status: stable
severity: high
description: ""
author: "tollwatch"
requires: [status]
alert: {title: "Many refused logins of one address (Sigma rule by tollwatch)"}
tests: [{"name": "ten", "rows": {"generate": {"n": 10, "every": "10s", "client_ip": "'192.0.2.1'", "method": "'POST'", "path": "'/login'", "status": 401}}, "expect": {"alerts": 1, "rows": [{"client_ip": "192.0.2.1", "n": 10}]}}, {"name": "nine", "rows": {"generate": {"n": 9, "every": "10s", "client_ip": "'192.0.2.1'", "method": "'POST'", "path": "'/login'", "status": 401}}, "expect": {"alerts": 0}}, {"name": "ten too slow", "rows": {"generate": {"n": 10, "every": "1m", "client_ip": "'192.0.2.1'", "method": "'POST'", "path": "'/login'", "status": 401}}, "expect": {"alerts": 0}}, {"name": "ten of an address that a filter takes out", "rows": {"generate": {"n": 10, "every": "10s", "client_ip": "'192.0.2.7'", "method": "'POST'", "path": "'/login'", "status": 401}}, "expect": {"alerts": 0}}]
lateness: 1m
emit: first_crossing
suppress: {by: [client_ip], for: 5m, update: true}
---*/
SELECT client_ip, window_start, window_end, count(*) AS n
FROM HOP(events, event_time, INTERVAL '15 seconds', INTERVAL '5 minutes')
WHERE method ILIKE 'POST'
  AND path ILIKE '/login'
  AND (status = 401
    OR status = 403)
  AND (client_ip ILIKE '192.0.2.7') IS NOT TRUE
  AND (user_agent ILIKE 'Reporter/%') IS NOT TRUE
GROUP BY client_ip, window_start, window_end
HAVING count(*) >= 10
