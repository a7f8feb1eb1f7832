/*---
# Converted from: "Sigma rule by tollwatch"
# Licence: "none named; SigmaHQ's rules (https://github.com/SigmaHQ/sigma) are under the Detection Rule License 1.1, https://github.com/SigmaHQ/Detection-Rule-License"
schema: rule/v1
id: 6b0a4f0e-31f4-4c58-9d5f-0a5b8f0c1a01
name: sigma_template_engine_reads_the_passwords_file
version: 1
title: "Template engine reads the passwords file"
status: stable
severity: high
description: "The request target is path and query, so path text in cs-uri-query is found, and text across both."
author: "tollwatch"
date: "2026-01-15"
tags: ["attack.initial-access", "cve.2026-0001"]
references: ["https://example.com/a*\/b"]
falsepositives: ["None known"]
alert: {title: "{identity}: Template engine reads the passwords file (Sigma rule by tollwatch)"}
tests: [{"name": "across path and query", "rows": [{"method": "'GET'", "path": "'/app/Render.do'", "query": "'tpl=x'"}], "expect": {"alerts": 1}}, {"name": "percent and underscore are no wildcards", "rows": [{"method": "'GET'", "path": "'/a/100%_x'"}], "expect": {"alerts": 1}}, {"name": "as wildcards they would match", "rows": [{"method": "'GET'", "path": "'/a/1000x'"}], "expect": {"alerts": 0}}, {"name": "another method", "rows": [{"method": "'POST'", "path": "'/app/render.do'", "query": "'tpl=x'"}], "expect": {"alerts": 0}}]
---*/
SELECT identity, endpoint, method, host, path, query, status, client_ip, user_agent
FROM (SELECT *, lower(concat(path, '?' || query)) AS target FROM events)
WHERE method ILIKE 'get'
  AND (target LIKE '%/render.do_tpl=%'
    OR contains(target, '100%_x'))
