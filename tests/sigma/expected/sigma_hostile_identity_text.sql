/*---
# Converted from: "Sigma rule by *\/ DROP TABLE events; /\x2a ---*\/"
# Licence: "MIT *\/"
schema: rule/v1
id: 7ff77795-122b-8393-ab42-ca3fdc3dad50
name: sigma_hostile_identity_text
version: 1
title: "Hostile {identity} ---*\/ text  "
status: stable
severity: medium
description: "---*\/ SELECT * FROM events -- *\/ \"quoted\" \\ back"
author: "*\/ DROP TABLE events; /\x2a ---*\/"
tags: ["a] ---*\/", "b: c"]
alert: {title: "{identity}: Hostile (identity) ---*\/ text   (Sigma rule by *\/ DROP TABLE events; /\x2a ---*\/)"}
tests: [{"name": "found *\/", "rows": [{"path": "'/'", "query": "'a='' or 1=1 --'"}], "expect": {"alerts": 1}}, {"name": "found /\x2a again", "rows": [{"path": "'/x *\/ ---*\/'"}], "expect": {"alerts": 1}}, {"name": "clean", "rows": [{"path": "'/'", "query": "'a=1'"}], "expect": {"alerts": 0}}]
---*/
SELECT identity, endpoint, method, host, path, query, status, client_ip, user_agent
FROM (SELECT *, lower(concat(path, '?' || query)) AS target FROM events)
WHERE contains(target, ''' or 1=1 --')
  OR target LIKE '%/ ---%/%'
  OR contains(target, ';\')
  OR contains(target, ''''')')
