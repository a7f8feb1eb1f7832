{{/* What the pods of all commands have in common. */}}

{{/*
Labels of another command's pods: the root, its command, and which of several. Another name than the StatefulSet's pods have, so that
nothing that selects those selects these.
*/}}
{{- define "tollwatch.commandSelector" -}}
app.kubernetes.io/name: {{ include "tollwatch.name" (index . 0) }}-{{ index . 1 }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 2 }}
{{- end }}

{{- define "tollwatch.pod" -}}
serviceAccountName: {{ include "tollwatch.serviceAccount" . }}
automountServiceAccountToken: false
# The variables of a Service named tollwatch-kafka would be read as Kafka's properties.
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  {{- range $name, $id := .Values.podSecurityContext }}
  {{- if $id }}
  {{ $name }}: {{ int64 $id }}
  {{- end }}
  {{- end }}
  # A claim can hold gigabytes of snapshots: their owner is changed only when the folder's is wrong.
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{- define "tollwatch.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Logs, and the credentials of Kafka and of the registry. */}}
{{- define "tollwatch.environment" -}}
- name: TOLLWATCH_LOG
  value: {{ .Values.log.filter | quote }}
- name: TOLLWATCH_LOG_JSON
  value: {{ .Values.log.json | quote }}
{{- with .Values.kafka.sasl }}
{{- if .existingSecret }}
{{ include "tollwatch.variable" (list "TOLLWATCH_KAFKA_SASL_USERNAME" .existingSecret .usernameKey) }}
{{ include "tollwatch.variable" (list "TOLLWATCH_KAFKA_SASL_PASSWORD" .existingSecret .passwordKey) }}
{{- end }}
{{- end }}
{{- with .Values.registry }}
{{- if .existingSecret }}
{{ include "tollwatch.variable" (list "TOLLWATCH_REGISTRY_USER" .existingSecret .usernameKey) }}
{{ include "tollwatch.variable" (list "TOLLWATCH_REGISTRY_PASSWORD" .existingSecret .passwordKey) }}
{{- end }}
{{- end }}
{{- end }}

{{/* A variable of a Secret: its name, the Secret and the key. */}}
{{- define "tollwatch.variable" -}}
- name: {{ index . 0 }}
  valueFrom:
    secretKeyRef:
      name: {{ index . 1 }}
      key: {{ index . 2 }}
{{- end }}

{{- define "tollwatch.placement" -}}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "tollwatch.probes" -}}
startupProbe:
  httpGet:
    path: /livez
    port: metrics
  periodSeconds: {{ .Values.probes.startup.periodSeconds }}
  failureThreshold: {{ .Values.probes.startup.failureThreshold }}
livenessProbe:
  httpGet:
    path: /livez
    port: metrics
  {{- toYaml .Values.probes.liveness | nindent 2 }}
# Not ready while it reads its state again, or what it writes to is away; no reason to be killed, so only this probe asks.
readinessProbe:
  httpGet:
    path: /readyz
    port: metrics
  {{- toYaml .Values.probes.readiness | nindent 2 }}
{{- end }}

{{/* Mounts and volumes of the configuration and of Kafka's certificates. */}}
{{- define "tollwatch.mounts" -}}
- name: config
  mountPath: /etc/tollwatch/config
  readOnly: true
{{- if .Values.kafka.tls.existingSecret }}
- name: tls
  mountPath: /etc/tollwatch/tls
  readOnly: true
{{- end }}
{{- end }}

{{- define "tollwatch.volumes" -}}
- name: config
  configMap:
    name: {{ include "tollwatch.fullname" . }}
{{- with .Values.kafka.tls }}
{{- if .existingSecret }}
- name: tls
  secret:
    secretName: {{ .existingSecret }}
    defaultMode: 0440
{{- end }}
{{- end }}
{{- end }}

{{/* Egress that every pod needs: DNS and Kafka. */}}
{{- define "tollwatch.egress" -}}
{{- $ports := list }}
{{- range splitList "," .Values.config.brokers }}
{{- $ports = append $ports (regexFind "[0-9]+$" . | int) }}
{{- end }}
{{- range .Values.networkPolicy.extraKafkaPorts }}
{{- $ports = append $ports (int .) }}
{{- end -}}
# DNS, wherever the cluster has it
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
# Kafka, inside the cluster or outside it
- ports:
    {{- range $ports | uniq }}
    - port: {{ . }}
      protocol: TCP
    {{- end }}
{{- end }}

{{/* The port of an http or https address. */}}
{{- define "tollwatch.urlPort" -}}
{{ regexFind ":[0-9]+(/|$)" . | trimAll ":/" | default (ternary "443" "80" (hasPrefix "https:" .)) }}
{{- end }}

{{/* Who may read the metrics; nobody without a namespace. */}}
{{- define "tollwatch.metricsIngress" -}}
{{- with .Values.networkPolicy.metricsNamespace }}
- from:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ . }}
  ports:
    - port: metrics
      protocol: TCP
{{- end }}
{{- end }}
