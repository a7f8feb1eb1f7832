/*---
# Converted from: "a Sigma rule"
# Licence: "none named; SigmaHQ's rules (https://github.com/SigmaHQ/sigma) are under the Detection Rule License 1.1, https://github.com/SigmaHQ/Detection-Rule-License"
schema: rule/v1
id: 19fec9bb-f277-83d1-a31b-858b90f60588
name: sigma_refused_then_accepted
version: 1
title: "Refused, then accepted"
status: stable
severity: medium
description: ""
author: ""
requires: [status]
alert: {title: "{identity}: Refused, then accepted (a Sigma rule)"}
tests: [{"name": "in that order", "rows": [{"at": "0s", "identity": "'bob'", "method": "'POST'", "path": "'/login'", "status": 401}, {"at": "60s", "identity": "'bob'", "method": "'POST'", "path": "'/login'", "status": 200}], "expect": {"alerts": 1}}, {"name": "in the other order", "rows": [{"at": "0s", "identity": "'bob'", "method": "'POST'", "path": "'/login'", "status": 200}, {"at": "60s", "identity": "'bob'", "method": "'POST'", "path": "'/login'", "status": 401}], "expect": {"alerts": 0}}]
lateness: 1m
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
HAVING min(event_time) FILTER (WHERE method ILIKE 'POST' AND path ILIKE '/login' AND (status = 401 OR status = 403) AND (client_ip ILIKE '192.0.2.7') IS NOT TRUE AND (user_agent ILIKE 'Reporter/%') IS NOT TRUE)
  < max(event_time) FILTER (WHERE method ILIKE 'POST' AND path ILIKE '/login' AND status = 200)
