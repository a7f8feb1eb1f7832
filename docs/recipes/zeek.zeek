# Zeek 4 or newer: local.zeek. JSON, and never the password of a Basic header.
@load policy/tuning/json-logs.zeek
redef HTTP::default_capture_password = F;
