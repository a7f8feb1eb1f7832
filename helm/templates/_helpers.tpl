{{- define "tollwatch.name" -}}
{{ .Values.nameOverride | default .Chart.Name | trunc 52 | trimSuffix "-" }}
{{- end }}

{{/* 52 characters: a StatefulSet's pods are labelled with its name and a hash, and a label takes 63. */}}
{{- define "tollwatch.fullname" -}}
{{- $name := include "tollwatch.name" . -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else if contains $name .Release.Name -}}
{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "tollwatch.selector" -}}
app.kubernetes.io/name: {{ include "tollwatch.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tollwatch.labels" -}}
{{ include "tollwatch.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "tollwatch.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (ternary (include "tollwatch.fullname" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- define "tollwatch.image" -}}
{{ .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "tollwatch.port" -}}
{{ regexFind "[0-9]+$" .Values.config.listen }}
{{- end }}

{{/* "yes" when there is a rules folder to mount. */}}
{{- define "tollwatch.ownRules" -}}
{{ if or .Values.rules .Values.rulesConfigMap }}yes{{ end }}
{{- end }}

{{/* "yes" when snapshots are in an object store: then nothing in the pod is worth a claim but the key, and that is a Secret. */}}
{{- define "tollwatch.objectStore" -}}
{{ if regexMatch "^(s3|gs|az)://" (dig "snapshots" "url" "" .Values.config) }}yes{{ end }}
{{- end }}

{{/* "yes" when the event lake is in an object store. */}}
{{- define "tollwatch.remoteLake" -}}
{{ if regexMatch "^(s3|gs|az)://" (dig "lake" "url" "" .Values.config) }}yes{{ end }}
{{- end }}

{{/* "yes" when the state folder outlives its pod. */}}
{{- define "tollwatch.claim" -}}
{{- if eq .Values.state.volume "auto" -}}
{{ if not (include "tollwatch.objectStore" .) }}yes{{ end }}
{{- else if eq .Values.state.volume "claim" -}}
yes
{{- end }}
{{- end }}

{{/* The most pods there can be. */}}
{{- define "tollwatch.podsMax" -}}
{{ ternary .Values.autoscaling.maxReplicas .Values.replicas .Values.autoscaling.enabled | int }}
{{- end }}

{{/* Lanes of each log, as far as the chart knows: topics that exist may have others. */}}
{{- define "tollwatch.partitions" -}}
{{ dig "topics" "partitions" 4 .Values.config | int }}
{{- end }}

{{/* The configuration that is rendered: the values', with what the chart decides laid over it; as JSON. */}}
{{- define "tollwatch.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $_ := set $config "state" "/var/lib/tollwatch" -}}
{{- if include "tollwatch.ownRules" . }}{{ $_ := set $config "rules" "/etc/tollwatch/rules" }}{{ end -}}
{{- with .Values.kafka.tls -}}
{{- if .existingSecret -}}
{{- $kafka := $config.kafka | default dict -}}
{{- if .caKey }}{{ $_ := set $kafka "ssl.ca.location" (printf "/etc/tollwatch/tls/%s" .caKey) }}{{ end -}}
{{- if .certKey }}{{ $_ := set $kafka "ssl.certificate.location" (printf "/etc/tollwatch/tls/%s" .certKey) }}{{ end -}}
{{- if .keyKey }}{{ $_ := set $kafka "ssl.key.location" (printf "/etc/tollwatch/tls/%s" .keyKey) }}{{ end -}}
{{- $_ := set $config "kafka" $kafka -}}
{{- if .keyPasswordKey -}}
{{- $files := $config.kafka_files | default dict -}}
{{- $_ := set $files "ssl.key.password" (printf "/etc/tollwatch/tls/%s" .keyPasswordKey) -}}
{{- $_ := set $config "kafka_files" $files -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{ $config | toJson }}
{{- end }}

{{/* tollwatch.toml */}}
{{- define "tollwatch.file" -}}
{{ include "tollwatch.toml" (dict "path" "" "table" (include "tollwatch.config" . | fromJson)) | trim }}
{{- end }}

{{/*
A table as TOML: its values, then its tables. Helm's own toToml writes each number of a values file as a float, which the program
refuses for counts. JSON's strings, numbers, booleans and lists of them are TOML too.
*/}}
{{- define "tollwatch.toml" -}}
{{- $path := .path -}}
{{- range $key, $value := .table }}
{{- $tables := and (kindIs "slice" $value) (kindIs "map" (first $value)) }}
{{- if not (or (kindIs "map" $value) $tables (kindIs "invalid" $value)) }}
{{ include "tollwatch.tomlKey" $key }} = {{ $value | toJson }}
{{- end }}
{{- end }}
{{- range $key, $value := .table }}
{{- $name := list $path (include "tollwatch.tomlKey" $key) | compact | join "." }}
{{- if kindIs "map" $value }}

[{{ $name }}]
{{- include "tollwatch.toml" (dict "path" $name "table" $value) }}
{{- else if and (kindIs "slice" $value) (kindIs "map" (first $value)) }}
{{- range $value }}

[[{{ $name }}]]
{{- include "tollwatch.toml" (dict "path" $name "table" .) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "tollwatch.tomlKey" -}}
{{ if regexMatch "^[A-Za-z0-9_-]+$" . }}{{ . }}{{ else }}{{ . | toJson }}{{ end }}
{{- end }}

{{/* What no schema can say; every fault is told at once, as `tollwatch check` does. */}}
{{- define "tollwatch.faults" -}}
{{- $faults := list -}}
{{- $values := .Values -}}
{{- /* The decoders, and the other names they go by; a mapping adds its own. */ -}}
{{- $formats := list "auto" "kong" "envoy" "istio" "nginx" "combined" "apache" "aws-api-gateway" "aws-alb" "alb"
    "cloudfront" "aws-cloudfront" "gcp" "azure-apim" "apim" "azure-app-gateway" "cloudflare" "akamai" "apigee"
    "f5" "big-ip" "imperva" "incapsula" "aws-waf" "ingress-nginx" "haproxy" "traefik" "caddy" "apisix" "tyk"
    "krakend" "gin" "otlp" "opentelemetry" "ecs" "filebeat" "ocsf" "zeek" -}}
{{- range .Values.config.sources -}}
{{- $format := .format | default "auto" -}}
{{- if not (or (has $format $formats) (hasKey ($values.config.mapping | default dict) $format)) -}}
{{- $faults = append $faults (printf "config.sources: topic %s has the format %s, which is neither a decoder nor in config.mapping" .topic $format) -}}
{{- end -}}
{{- end -}}
{{- $pods := include "tollwatch.podsMax" . | int -}}
{{- $partitions := include "tollwatch.partitions" . | int -}}
{{- $topics := .Values.config.topics | default dict -}}
{{- $protocol := dig "kafka" "security.protocol" "plaintext" .Values.config | lower -}}
{{- $mechanism := dig "kafka" "sasl.mechanism" (dig "kafka" "sasl.mechanisms" "GSSAPI" .Values.config) .Values.config -}}
{{- if not .Values.identityKey.existingSecret -}}
{{- if gt $pods 1 -}}
{{- $faults = append $faults (printf "there may be %d pods and no identityKey.existingSecret: each would make a key of its own, and one caller would be %d identities" $pods $pods) -}}
{{- end -}}
{{- if not (include "tollwatch.claim" .) -}}
{{- $faults = append $faults "the state volume is ephemeral and there is no identityKey.existingSecret: a restart would make a new key, and no caller would be known" -}}
{{- end -}}
{{- end -}}
{{- if gt $pods $partitions -}}
{{- $faults = append $faults (printf "there may be %d pods for %d partitions of a log (config.topics.partitions): a pod without a partition has nothing to do" $pods $partitions) -}}
{{- end -}}
{{- if gt (int ($topics.min_insync_replicas | default 1)) (int ($topics.replication | default 1)) -}}
{{- $faults = append $faults "config.topics.min_insync_replicas is above config.topics.replication" -}}
{{- end -}}
{{- if and .Values.rules .Values.rulesConfigMap -}}
{{- $faults = append $faults "both rules and rulesConfigMap are set" -}}
{{- end -}}
{{- if and .Values.config.rules (include "tollwatch.ownRules" .) -}}
{{- $faults = append $faults "config.rules is set beside rules or rulesConfigMap" -}}
{{- end -}}
{{- if and .Values.kafka.sasl.existingSecret (not (hasPrefix "sasl" $protocol)) -}}
{{- $faults = append $faults "kafka.sasl.existingSecret is set, and config.kafka has no security.protocol of SASL_SSL or SASL_PLAINTEXT" -}}
{{- end -}}
{{- if and .Values.registry.existingSecret (not (dig "registry" "url" "" .Values.config)) -}}
{{- $faults = append $faults "registry.existingSecret is set, and config.registry has no url" -}}
{{- end -}}
{{- with .Values.kafka.tls -}}
{{- if .existingSecret -}}
{{- if not (hasSuffix "ssl" $protocol) -}}
{{- $faults = append $faults "kafka.tls.existingSecret is set, and config.kafka has no security.protocol of SSL or SASL_SSL" -}}
{{- end -}}
{{- if ne (empty .certKey) (empty .keyKey) -}}
{{- $faults = append $faults "kafka.tls.certKey and kafka.tls.keyKey belong together" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if .Values.autoscaling.enabled -}}
{{- if gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas) -}}
{{- $faults = append $faults "autoscaling.minReplicas is above autoscaling.maxReplicas" -}}
{{- end -}}
{{- if and (hasPrefix "sasl" $protocol) (not .Values.autoscaling.authenticationRef) (not (and .Values.kafka.sasl.existingSecret (has $mechanism (list "PLAIN" "SCRAM-SHA-256" "SCRAM-SHA-512")))) -}}
{{- $faults = append $faults (printf "KEDA needs autoscaling.authenticationRef: the chart can make one for PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512 of a kafka.sasl.existingSecret, and sasl.mechanism is %s" $mechanism) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled .Values.networkPolicy.enabled (not .Values.networkPolicy.metricsNamespace) -}}
{{- $faults = append $faults "serviceMonitor.enabled needs networkPolicy.metricsNamespace: nobody may read the metrics" -}}
{{- end -}}
{{- range $name, $sink := .Values.deliver -}}
{{- $to := $sink.to | default "" -}}
{{- if and (eq ($sink.as | default "ocsf") "avro") (not (dig "registry" "url" "" $values.config)) -}}
{{- $faults = append $faults (printf "deliver.%s: avro is written by a schema of a registry, and config.registry has no url" $name) -}}
{{- end -}}
{{- if and (eq ($sink.as | default "ocsf") "avro") (not (hasPrefix "topic:" $to)) -}}
{{- $faults = append $faults (printf "deliver.%s: avro goes to topic:NAME" $name) -}}
{{- end -}}
{{- if and (ne ($sink.as | default "ocsf") "avro") (or $sink.subject (hasKey $sink "register")) -}}
{{- $faults = append $faults (printf "deliver.%s: subject and register are for avro" $name) -}}
{{- end -}}
{{- if and $sink.toSecret $values.networkPolicy.enabled (not $sink.egressPorts) -}}
{{- $faults = append $faults (printf "deliver.%s.toSecret needs egressPorts: the chart can't see the address, and the network policy lets nothing out" $name) -}}
{{- end -}}
{{- if and $sink.token (hasPrefix "http://" $to) -}}
{{- $faults = append $faults (printf "deliver.%s: a token is not sent without TLS" $name) -}}
{{- end -}}
{{- end -}}
{{- with .Values.collect -}}
{{- if .enabled -}}
{{- $topics := list -}}
{{- range $values.config.sources }}{{ $topics = append $topics .topic }}{{ end -}}
{{- if not (has .topic $topics) -}}
{{- $faults = append $faults (printf "collect.topic is %q, and no source of config.sources reads it" .topic) -}}
{{- end -}}
{{- if not (or .httpPort .grpcPort) -}}
{{- $faults = append $faults "collect has neither httpPort nor grpcPort" -}}
{{- end -}}
{{- $ports := without (list (include "tollwatch.port" $ | int) (int .httpPort) (int .grpcPort)) 0 -}}
{{- if ne (len $ports) (len (uniq $ports)) -}}
{{- $faults = append $faults "collect.httpPort, collect.grpcPort and the port of config.listen are not three" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $faults -}}
{{- fail (printf "\nthe values have faults:\n  %s" (join "\n  " $faults)) -}}
{{- end -}}
{{- end }}
