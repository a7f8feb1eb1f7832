/*---
# Converted from: "a Sigma rule"
# Licence: "none named; SigmaHQ's rules (https://github.com/SigmaHQ/sigma) are under the Detection Rule License 1.1, https://github.com/SigmaHQ/Detection-Rule-License"
schema: rule/v1
id: b5342d98-2f46-88a8-8a25-6095c65b9cc7
name: sigma_refused_and_accepted
version: 1
title: "Refused and accepted"
status: stable
severity: medium
description: ""
author: ""
requires: [status]
alert: {title: "{identity}: Refused and accepted (a Sigma rule)"}
tests: [{"name": "in any order", "rows": [{"at": "0s", "identity": "'bob'", "method": "'POST'", "path": "'/login'", "status": 200}, {"at": "60s", "identity": "'bob'", "method": "'POST'", "path": "'/login'", "status": 401}], "expect": {"alerts": 1}}, {"name": "of two callers", "rows": [{"at": "0s", "identity": "'bob'", "method": "'POST'", "path": "'/login'", "status": 200}, {"at": "60s", "identity": "'eve'", "method": "'POST'", "path": "'/login'", "status": 401}], "expect": {"alerts": 0}}]
lateness: 1m
emit: first_crossing
suppress: {by: [identity], for: 10m, update: true}
---*/
SELECT identity, window_start, window_end, count(*) AS n
FROM HOP(events, event_time, INTERVAL '30 seconds', INTERVAL '10 minutes')
WHERE (method ILIKE 'POST'
    AND path ILIKE '/login'
    AND (status = 401
      OR status = 403)
    AND (client_ip ILIKE '192.0.2.7') IS NOT TRUE
    AND (user_agent ILIKE 'Reporter/%') IS NOT TRUE)
  OR (method ILIKE 'POST'
    AND path ILIKE '/login'
    AND status = 200)
GROUP BY identity, window_start, window_end
HAVING count(*) FILTER (WHERE method ILIKE 'POST' AND path ILIKE '/login' AND (status = 401 OR status = 403) AND (client_ip ILIKE '192.0.2.7') IS NOT TRUE AND (user_agent ILIKE 'Reporter/%') IS NOT TRUE) >= 1
  AND count(*) FILTER (WHERE method ILIKE 'POST' AND path ILIKE '/login' AND status = 200) >= 1
