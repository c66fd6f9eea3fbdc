{{/* Names, labels and what several services share. Each is one line for its reader: what it gives. */}}

{{/* The beginning of every name: at most 40 characters, for a pod's name must fit the 63 of a process id. */}}
{{- define "hushgate.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* The labels by which a component's pods are found; never changed, for selectors cannot be. */}}
{{- define "hushgate.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* The labels of an object. Pods do not get the version: it would restart them with every new chart. */}}
{{- define "hushgate.labels" -}}
{{ include "hushgate.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Name and labels of an object: name suffix, component. */}}
{{- define "hushgate.metadata" -}}
name: {{ include "hushgate.fullname" .root }}-{{ default .component .name }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "hushgate.labels" . | nindent 2 }}
{{- end }}

{{- define "hushgate.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default .Chart.AppVersion $image.tag }}
{{- end -}}
{{- end }}

{{/* A value as text: whole numbers without an exponent, lists as JSON, as the settings read them. */}}
{{- define "hushgate.text" -}}
{{- if kindIs "float64" . -}}
{{- ternary (printf "%d" (int64 .)) (toString .) (eq (float64 (int64 .)) .) -}}
{{- else if or (kindIs "slice" .) (kindIs "map" .) -}}
{{- toJson . -}}
{{- else -}}
{{- toString . -}}
{{- end -}}
{{- end }}

{{/* `settings` as environment. What is empty is left out: the service has its own default. */}}
{{- define "hushgate.settings" -}}
{{- range $name, $value := . }}
{{- if not (or (kindIs "invalid" $value) (eq (toString $value) "") (and (kindIs "slice" $value) (not $value))) }}
- name: {{ $name }}
  value: {{ include "hushgate.text" $value | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Whether the rehearsal runs, and whether it answers the calls: "true" or "". */}}
{{- define "hushgate.rehearsal.enabled" -}}
{{- $wanted := toString .Values.rehearsal.enabled -}}
{{- if or (eq $wanted "true") (and (eq $wanted "auto") (not .Values.upstream.existingSecret)) -}}true{{- end -}}
{{- end }}
{{- define "hushgate.rehearsal.answers" -}}
{{- if and (include "hushgate.rehearsal.enabled" .) (not .Values.upstream.existingSecret) -}}true{{- end -}}
{{- end }}

{{/* Whose page is shown at `/`: a tenant's id, or nothing. */}}
{{- define "hushgate.demoTenant" -}}
{{- $named := .Values.signaling.settings.SIGNALING_DEMO_TENANT -}}
{{- $wanted := toString .Values.signaling.page -}}
{{- if eq $wanted "false" -}}
{{- else if $named -}}
{{ $named }}
{{- else if and (not .Values.tenants.existingSecret) (or (eq $wanted "true") (include "hushgate.rehearsal.answers" .)) -}}
{{ .Values.tenants.generated.id }}
{{- end -}}
{{- end }}

{{/* The Secret with `page-secret`, needed to use the page. */}}
{{- define "hushgate.page.secret" -}}
{{ default (printf "%s-page" (include "hushgate.fullname" .)) .Values.signaling.pageExistingSecret }}
{{- end }}

{{/* --- NATS --------------------------------------------------------------------------------------------- */}}

{{- define "hushgate.nats.url" -}}
{{- if .Values.nats.enabled -}}
nats://{{ include "hushgate.fullname" . }}-nats:4222
{{- else -}}
{{ .Values.nats.external.url }}
{{- end -}}
{{- end }}

{{/* The MiB that streams and buckets may take together: three quarters of our server's volume. */}}
{{- define "hushgate.nats.storeMB" -}}
{{- if .Values.nats.enabled -}}
{{- $size := ternary (toString .Values.nats.persistence.size) "1Gi" .Values.nats.persistence.enabled -}}
{{- $number := regexFind "^[0-9]+" $size | int64 -}}
{{- $bytes := get (dict "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "M" 1000000 "G" 1000000000 "T" 1000000000000) (regexFind "[A-Za-z]*$" $size) -}}
{{ div (mul $number (int64 $bytes) 3) 4194304 }}
{{- else -}}
{{ include "hushgate.text" .Values.nats.external.storeMB }}
{{- end -}}
{{- end }}

{{/* The Secret with the passwords of all users; nothing where an external server is asked without. */}}
{{- define "hushgate.nats.secret" -}}
{{- if .Values.nats.auth.existingSecret -}}
{{ .Values.nats.auth.existingSecret }}
{{- else if .Values.nats.enabled -}}
{{ include "hushgate.fullname" . }}-nats
{{- end -}}
{{- end }}

{{/* --- Secrets ------------------------------------------------------------------------------------------ */}}

{{/* The value of an existing Secret, else a new one: it must survive upgrades. */}}
{{- define "hushgate.kept" -}}
{{- $old := lookup "v1" "Secret" .root.Release.Namespace .secret -}}
{{- $data := default dict (default dict $old).data -}}
{{- if hasKey $data .key -}}
{{ index $data .key | b64dec }}
{{- else -}}
{{ .new }}
{{- end -}}
{{- end }}

{{- define "hushgate.metering.secret" -}}
{{- default (printf "%s-metering" (include "hushgate.fullname" .)) .Values.metering.existingSecret -}}
{{- end }}
{{- define "hushgate.tenants.secret" -}}
{{- default (printf "%s-tenants" (include "hushgate.fullname" .)) .Values.tenants.existingSecret -}}
{{- end }}
{{- define "hushgate.turn.secret" -}}
{{- default (printf "%s-turn" (include "hushgate.fullname" .)) .Values.turn.existingSecret -}}
{{- end }}

{{/* --- Pods --------------------------------------------------------------------------------------------- */}}

{{- define "hushgate.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "hushgate.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* The zone of a pod that the values do not name: the node's, which Kubernetes 1.35 and later copies to its pods. */}}
{{- define "hushgate.zoneEnv" -}}
{{- if not (index .values.settings (printf "%s_ZONE" .prefix)) }}
- name: {{ .prefix }}_ZONE
  valueFrom:
    fieldRef:
      fieldPath: metadata.labels['topology.kubernetes.io/zone']
{{- end }}
{{- end }}

{{/* What a pod's metadata holds: labels by which it is found, and what the values add. */}}
{{- define "hushgate.podMetadata" -}}
labels:
  {{- include "hushgate.selector" . | nindent 2 }}
  {{- with .values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) .values.podAnnotations (default dict .annotations) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The common start of every pod's spec. */}}
{{- define "hushgate.podBase" -}}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ include "hushgate.text" .values.terminationGracePeriodSeconds }}
securityContext:
  {{- include "hushgate.podSecurity" . | nindent 2 }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .spread }}
topologySpreadConstraints:
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - topologyKey: {{ . }}
    maxSkew: 1
    whenUnsatisfiable: {{ $.values.topologySpread }}
    labelSelector:
      matchLabels:
        {{- include "hushgate.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* The environment that every service on the bus has: prefix, component. */}}
{{- define "hushgate.commonEnv" -}}
{{- $p := .prefix -}}
- name: {{ $p }}_PROCESS_ID
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: {{ $p }}_HTTP_HOST
  value: {{ .root.Values.listenAddress | quote }}
- name: {{ $p }}_HTTP_PORT
  value: "8080"
- name: {{ $p }}_DATA_DIR
  value: /var/lib/hushgate
{{- if .bus }}
{{- with .root.Values.tracing }}
{{- if .endpoint }}
- name: {{ $p }}_OTLP_ENDPOINT
  value: {{ .endpoint | quote }}
- name: {{ $p }}_OTLP_SAMPLE_RATIO
  value: {{ include "hushgate.text" .sampleRatio | quote }}
{{- if .headersSecret }}
- name: {{ $p }}_OTLP_HEADERS_FILE
  value: /etc/hushgate/secrets/otlp-headers
{{- end }}
{{- end }}
{{- end }}
- name: {{ $p }}_NATS_URL
  value: {{ include "hushgate.nats.url" .root | quote }}
- name: {{ $p }}_NATS_WAIT_S
  value: "60"
- name: {{ $p }}_NATS_STORE_MB
  value: {{ include "hushgate.nats.storeMB" .root | quote }}
{{- if include "hushgate.nats.secret" .root }}
- name: {{ $p }}_NATS_USER
  {{- if .named }}
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
  {{- else }}
  value: {{ .component }}
  {{- end }}
- name: {{ $p }}_NATS_PASSWORD_FILE
  value: {{ ternary "/etc/hushgate/bus/nats-password" "/etc/hushgate/secrets/nats-password" (not (not .named)) }}
{{- end }}
{{- end }}
{{- end }}

{{/* What every service on the bus has of Secrets, as sources of the projected volume `secrets`: root, component. Pods
     that are `named` (media, upstream) are users of their own, and see the folder of the volume `bus` with their name. */}}
{{- define "hushgate.busSecrets" -}}
{{- with and (not .named) (include "hushgate.nats.secret" .root) }}
- secret:
    name: {{ . }}
    items: [{ key: {{ $.component }}, path: nats-password }]
{{- end }}
{{- if .root.Values.tracing.endpoint }}
{{- with .root.Values.tracing.headersSecret }}
- secret:
    name: {{ . }}
    items: [{ key: headers, path: otlp-headers }]
{{- end }}
{{- end }}
{{- end }}

{{/* A container of ours: root, component, prefix, values, bus, env, ports, secrets (sources of the volume). */}}
{{- define "hushgate.container" -}}
{{- $settings := deepCopy .values.settings -}}
{{- range .without }}{{- $_ := unset $settings . -}}{{- end -}}
name: {{ .component }}
image: {{ include "hushgate.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args: [{{ .component }}]
env:
  {{- include "hushgate.commonEnv" . | nindent 2 }}
  {{- with .env }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with include "hushgate.settings" $settings | trim }}
  {{- . | nindent 2 }}
  {{- end }}
ports:
  - name: http
    containerPort: 8080
    protocol: TCP
  {{- with .ports }}
  {{- . | nindent 2 }}
  {{- end }}
# A service waits for NATS before it opens its port.
startupProbe:
  httpGet: { path: /healthz, port: http, scheme: {{ .scheme | default "HTTP" }} }
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 75
livenessProbe:
  httpGet: { path: /healthz, port: http, scheme: {{ .scheme | default "HTTP" }} }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: { path: /readyz, port: http, scheme: {{ .scheme | default "HTTP" }} }
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
{{- with .lifecycle }}
lifecycle:
  {{- . | nindent 2 }}
{{- end }}
resources:
  {{- toYaml .values.resources | nindent 2 }}
securityContext:
  {{- include "hushgate.containerSecurity" . | nindent 2 }}
volumeMounts:
  - name: data
    mountPath: /var/lib/hushgate
  - name: tmp
    mountPath: /tmp
  {{- if .secrets }}
  - name: secrets
    mountPath: /etc/hushgate/secrets
    readOnly: true
  {{- end }}
  {{- if and .named (include "hushgate.nats.secret" .root) }}
  - name: bus
    mountPath: /etc/hushgate/bus
    subPathExpr: $({{ .prefix }}_PROCESS_ID)
    readOnly: true
  {{- end }}
  {{- with .mounts }}
  {{- . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* The volumes to that; `claimed` when a claim template gives `data`. */}}
{{- define "hushgate.volumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: 256Mi
{{- if not .claimed }}
- name: data
  emptyDir:
    sizeLimit: 1Gi
{{- end }}
{{- with .secrets }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- . | nindent 6 }}
{{- end }}
{{- $role := .component }}
{{- if and .named (include "hushgate.nats.secret" .root) }}
- name: bus
  secret:
    secretName: {{ include "hushgate.nats.secret" .root }}
    defaultMode: 0440
    items:
      {{- range include "hushgate.bus.users" .root | fromYamlArray }}
      {{- if eq .role $role }}
      - { key: "{{ .key }}", path: "{{ .path }}" }
      {{- end }}
      {{- end }}
{{- end }}
{{- end }}

{{/* --- Around pods -------------------------------------------------------------------------------------- */}}

{{/* An autoscaler on CPU: root, component, values, kind, behavior. */}}
{{- define "hushgate.hpa" -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  {{- include "hushgate.metadata" . | nindent 2 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: {{ .kind }}
    name: {{ include "hushgate.fullname" .root }}-{{ .component }}
  minReplicas: {{ include "hushgate.text" .values.autoscaling.minReplicas }}
  maxReplicas: {{ include "hushgate.text" .values.autoscaling.maxReplicas }}
  metrics:
    # A service is one Python process on one core, whatever it requests: so an absolute CPU value, not a share.
    - type: Resource
      resource:
        name: cpu
        target:
          type: AverageValue
          averageValue: {{ .values.autoscaling.targetCPU | quote }}
  {{- with .behavior }}
  behavior:
    {{- . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* Media and upstream pods carry calls: scale down slowly and after a long quiet period. */}}
{{- define "hushgate.calmBehavior" -}}
scaleUp:
  stabilizationWindowSeconds: 0
  policies:
    - { type: Pods, value: 2, periodSeconds: 30 }
scaleDown:
  stabilizationWindowSeconds: 600
  policies:
    - { type: Pods, value: 1, periodSeconds: 300 }
{{- end }}

{{/* A disruption budget: one pod at a time. */}}
{{- define "hushgate.pdb" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "hushgate.metadata" . | nindent 2 }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "hushgate.selector" . | nindent 6 }}
{{- end }}

{{/* How many pods a service has at least. */}}
{{- define "hushgate.leastPods" -}}
{{- ternary .autoscaling.minReplicas .replicas .autoscaling.enabled | int -}}
{{- end }}

{{/* A ClusterIP Service on the pods' HTTP port. */}}
{{- define "hushgate.httpService" -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "hushgate.metadata" . | nindent 2 }}
spec:
  type: ClusterIP
  selector:
    {{- include "hushgate.selector" . | nindent 4 }}
  ports:
    - name: http
      port: 8080
      targetPort: http
      protocol: TCP
{{- end }}

{{/* The public routes: the API, and the page if there is one. */}}
{{- define "hushgate.publicPaths" -}}
- { path: /v1, exact: false }
- { path: /docs, exact: false }
- { path: /openapi.json, exact: true }
{{- if include "hushgate.demoTenant" . }}
- { path: /, exact: true }
- { path: /assets, exact: false }
- { path: /demo, exact: false }
{{- end }}
{{- end }}

{{/* A StatefulSet's claim for /var/lib/hushgate; values: a `persistence` block. */}}
{{- define "hushgate.claim" -}}
persistentVolumeClaimRetentionPolicy:
  whenDeleted: {{ .whenDeleted }}
  whenScaled: Retain
volumeClaimTemplates:
  - metadata:
      name: data
    spec:
      accessModes: [ReadWriteOnce]
      {{- with .storageClassName }}
      storageClassName: {{ . }}
      {{- end }}
      resources:
        requests:
          storage: {{ .size }}
{{- end }}
