/*---
schema: rule/v1
id: 00000000-0000-4000-8000-000000000001
name: paced_events
version: 1
title: One call in a thousand
status: stable
severity: low
description: Finds nothing; its alerts are there to be timed.
---*/
SELECT identity, endpoint
FROM events
WHERE source_offset % 1000 = 7
