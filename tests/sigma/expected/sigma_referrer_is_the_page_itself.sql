/*---
# Converted from: "a Sigma rule"
# Licence: "none named; SigmaHQ's rules (https://github.com/SigmaHQ/sigma) are under the Detection Rule License 1.1, https://github.com/SigmaHQ/Detection-Rule-License"
schema: rule/v1
id: 6b0a4f0e-31f4-4c58-9d5f-0a5b8f0c1b04
name: sigma_referrer_is_the_page_itself
version: 1
title: "Referrer is the page itself"
status: stable
severity: medium
description: ""
author: ""
requires: [referer]
alert: {title: "{identity}: Referrer is the page itself (a Sigma rule)"}
tests: [{"name": "itself", "rows": [{"path": "'/a'", "referer": "'https://x/A'"}], "expect": {"alerts": 1}}, {"name": "another or none", "rows": [{"path": "'/a'", "referer": "'https://x/a?b'"}, {"path": "'/a'"}], "expect": {"alerts": 0}}]
---*/
SELECT identity, endpoint, method, host, path, query, status, client_ip, user_agent
FROM events
WHERE ends_with(lower(referer), lower(path))
