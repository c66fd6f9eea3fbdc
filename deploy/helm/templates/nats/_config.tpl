{{/* The server's configuration. Each process is a user of its own, and may what services/contracts/permissions.py says. */}}

{{/* The most pods that a service may have by its values. */}}
{{- define "hushgate.mostPods" -}}
{{- $most := int .replicas -}}
{{- if .autoscaling.enabled }}{{ $most = int .autoscaling.maxReplicas }}{{ end -}}
{{- with .keda }}{{ if .enabled }}{{ $most = int .maxReplicas }}{{ end }}{{ end -}}
{{- $most -}}
{{- end }}

{{/* The pods that get a user. Generated passwords are also there for pods that `kubectl scale` may add, up to eight. */}}
{{- define "hushgate.podsWithUser" -}}
{{- $most := include "hushgate.mostPods" .service | int -}}
{{- if .root.Values.nats.auth.existingSecret }}{{ $most }}{{ else }}{{ max $most 8 }}{{ end -}}
{{- end }}

{{/* All users: role, name (the process's, which its subjects hold), key in the Secret; of pods with a name also where. */}}
{{- define "hushgate.bus.users" -}}
{{- $full := include "hushgate.fullname" . -}}
{{- $m := .Values.media -}}
- { role: signaling, name: signaling, key: signaling }
- { role: metering, name: metering, key: metering }
{{- range $pod := until (include "hushgate.podsWithUser" (dict "root" $ "service" $m) | int) }}
{{- if eq (int $m.processes) 1 }}
- { role: media, name: "{{ $full }}-media-{{ $pod }}", key: "media-{{ $pod }}", path: "{{ $full }}-media-{{ $pod }}/nats-password" }
{{- else }}
{{- range $n := until (int $m.processes) }}
- { role: media, name: "{{ $full }}-media-{{ $pod }}-{{ $n }}", key: "media-{{ $pod }}-{{ $n }}", path: "{{ $full }}-media-{{ $pod }}/nats-password-{{ $n }}" }
{{- end }}
{{- end }}
{{- end }}
{{- range $pod := until (include "hushgate.podsWithUser" (dict "root" $ "service" .Values.upstream) | int) }}
- { role: upstream, name: "{{ $full }}-upstream-{{ $pod }}", key: "upstream-{{ $pod }}", path: "{{ $full }}-upstream-{{ $pod }}/nats-password" }
{{- end }}
{{- end }}

{{/* The variable that holds a user's password: nats-server takes them by environment only. */}}
{{- define "hushgate.bus.variable" -}}
NATS_PASSWORD_{{ . | replace "-" "_" | upper }}
{{- end }}

{{- define "hushgate.bus.bucket" -}}
"$JS.API.STREAM.INFO.KV_{{ . }}", "$JS.API.STREAM.CREATE.KV_{{ . }}", "$JS.API.STREAM.UPDATE.KV_{{ . }}"
"$JS.API.STREAM.MSG.GET.KV_{{ . }}"
"$JS.API.DIRECT.GET.KV_{{ . }}.>", "$KV.{{ . }}.>"
{{- end }}

{{- define "hushgate.bus.reader" -}}
"$JS.API.STREAM.INFO.{{ . }}", "$JS.API.STREAM.CREATE.{{ . }}", "$JS.API.STREAM.UPDATE.{{ . }}"
"$JS.API.CONSUMER.CREATE.{{ . }}.metering.>", "$JS.API.CONSUMER.DURABLE.CREATE.{{ . }}.metering"
"$JS.API.CONSUMER.INFO.{{ . }}.metering", "$JS.API.CONSUMER.DELETE.{{ . }}.metering"
"$JS.API.CONSUMER.MSG.NEXT.{{ . }}.metering", "$JS.ACK.{{ . }}.metering.>"
{{- end }}

{{- define "hushgate.bus.permissions" -}}
{{- $p := .name -}}
{{- if eq .role "signaling" -}}
publish: [
  "$JS.API.INFO", "hg.media.*.offer", "hg.media.*.keys_checked", "hg.call.*.*.control", "hg.placed"
  {{- include "hushgate.bus.bucket" "grants" | nindent 2 }}
  {{- include "hushgate.bus.bucket" "access" | nindent 2 }}
]
subscribe: ["_INBOX_{{ $p }}.>", "hg.media.*.heartbeat", "hg.media.*.keys"]
{{- else if eq .role "media" -}}
publish: [
  "$JS.API.INFO", "hg.media.{{ $p }}.heartbeat", "hg.media.{{ $p }}.keys", "hg.claim.{{ $p }}", "hg.up.*.{{ $p }}.*"
  "hg.usage.media.{{ $p }}.*", "hg.calls.{{ $p }}.started", "hg.calls.{{ $p }}.ended", "$JS.API.STREAM.INFO.USAGE"
]
subscribe: [
  "_INBOX_{{ $p }}.>", "hg.media.{{ $p }}.offer", "hg.media.{{ $p }}.keys_checked", "hg.call.{{ $p }}.*.control"
  "hg.down.{{ $p }}.*.*", "hg.watermark.{{ $p }}.*"
]
# Answers go to the one who asked, once, and nowhere else.
allow_responses: { max: 1, expires: "1m" }
{{- else if eq .role "upstream" -}}
publish: [
  "$JS.API.INFO", "hg.down.*.{{ $p }}.*", "hg.usage.upstream.{{ $p }}.*", "$JS.API.STREAM.INFO.USAGE"
  {{- include "hushgate.bus.bucket" "leases" | nindent 2 }}
  {{- include "hushgate.bus.bucket" "rates" | nindent 2 }}
]
# Claims in the queue group only: each is heard by one worker.
subscribe: ["_INBOX_{{ $p }}.>", "hg.claim.* upstream", "hg.up.{{ $p }}.*.*", "hg.watermark.{{ $p }}.*"]
allow_responses: { max: 1, expires: "1m" }
{{- else -}}
publish: [
  "$JS.API.INFO", "hg.watermark.*.*"
  {{- range list "USAGE" "CALLS" "PLACED" }}
  {{- include "hushgate.bus.reader" . | nindent 2 }}
  {{- end }}
]
subscribe: ["_INBOX_{{ $p }}.>"]
{{- end }}
{{- end }}

{{- define "hushgate.nats.config" -}}
listen: "{{ .Values.listenAddress }}:4222"
http: "{{ .Values.listenAddress }}:8222"
server_name: {{ include "hushgate.fullname" . }}
max_payload: 524288
# An acknowledged usage event is on the disk: the default syncs every two minutes.
jetstream {
  store_dir: /var/lib/hushgate/jetstream
  sync_interval: always
  # Three quarters of the volume; the rest is for what was deleted and not yet tidied up. Streams take shares of it.
  max_file_store: {{ mul (include "hushgate.nats.storeMB" . | int64) 1048576 }}
}
authorization {
  timeout: 5
  users: [
    {{- range include "hushgate.bus.users" . | fromYamlArray }}
    {
      user: "{{ .name }}", password: ${{ include "hushgate.bus.variable" .key }}
      permissions {
        {{- include "hushgate.bus.permissions" . | nindent 8 }}
      }
    }
    {{- end }}
  ]
}
{{- end }}
