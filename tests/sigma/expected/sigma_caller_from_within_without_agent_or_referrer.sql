/*---
# Converted from: "a Sigma rule"
# Licence: "none named; SigmaHQ's rules (https://github.com/SigmaHQ/sigma) are under the Detection Rule License 1.1, https://github.com/SigmaHQ/Detection-Rule-License"
schema: rule/v1
id: 6b0a4f0e-31f4-4c58-9d5f-0a5b8f0c1a05
name: sigma_caller_from_within_without_agent_or_referrer
version: 1
title: "Caller from within, without agent or referrer"
status: stable
severity: medium
description: ""
author: ""
requires: [client_ip]
alert: {title: "{identity}: Caller from within, without agent or referrer (a Sigma rule)"}
tests: [{"name": "inside", "rows": [{"client_ip": "'172.31.0.1'", "identity": "'bob'"}], "expect": {"alerts": 1}}, {"name": "inside and in the longer form", "rows": [{"client_ip": "'fd12:3456::1'", "identity": "'bob'"}], "expect": {"alerts": 1}}, {"name": "outside, with an agent, with a referrer, or somebody else", "rows": [{"client_ip": "'172.32.0.1'", "identity": "'bob'"}, {"client_ip": "'110.0.0.1'", "identity": "'bob'"}, {"client_ip": "'10.0.0.1'", "identity": "'bob'", "user_agent": "'curl'"}, {"client_ip": "'10.0.0.1'", "identity": "'bob'", "referer": "'https://a/'"}, {"client_ip": "'10.0.0.1'", "identity": "'Healthcheck'"}], "expect": {"alerts": 0}}]
---*/
SELECT identity, endpoint, method, host, path, query, status, client_ip, user_agent
FROM events
WHERE (client_ip ~ '^10\.'
    OR client_ip ~ '^172\.(16|17|18|19|20|21|22|23|24|25|26|27|28|29|30|31)\.'
    OR client_ip ~ '(?i)^f[cd][0-9a-f]{2}:')
  AND user_agent IS NULL
  AND referer IS NULL
  AND (identity ILIKE 'healthcheck') IS NOT TRUE
