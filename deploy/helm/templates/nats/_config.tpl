{{/* The server's configuration. What a role may: its own subjects, its own inboxes, of JetStream what it calls. */}}
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
    {
      user: signaling, password: $NATS_PASSWORD_SIGNALING
      permissions {
        publish: [
          "$JS.API.INFO", "hg.media.*.offer", "hg.call.*.control"
          "$JS.API.STREAM.INFO.KV_grants", "$JS.API.STREAM.CREATE.KV_grants", "$JS.API.STREAM.UPDATE.KV_grants"
          "$JS.API.STREAM.MSG.GET.KV_grants", "$JS.API.DIRECT.GET.KV_grants.>", "$KV.grants.>"
          "$JS.API.STREAM.INFO.KV_access", "$JS.API.STREAM.CREATE.KV_access", "$JS.API.STREAM.UPDATE.KV_access"
          "$JS.API.STREAM.MSG.GET.KV_access", "$JS.API.DIRECT.GET.KV_access.>", "$KV.access.>"
        ]
        subscribe: ["_INBOX_signaling.>", "hg.media.heartbeat"]
      }
    }
    {
      user: media, password: $NATS_PASSWORD_MEDIA
      permissions {
        publish: [
          "$JS.API.INFO", "hg.media.heartbeat", "hg.claim", "hg.up.*.*"
          "hg.usage.*", "$JS.API.STREAM.INFO.USAGE", "$JS.API.STREAM.CREATE.USAGE", "$JS.API.STREAM.MSG.GET.USAGE"
          "hg.calls.started", "hg.calls.ended", "$JS.API.STREAM.INFO.CALLS", "$JS.API.STREAM.CREATE.CALLS"
        ]
        subscribe: ["_INBOX_media.>", "hg.media.*.offer", "hg.call.*.control", "hg.down.*.*", "hg.watermark.*"]
        # Answers go to the one who asked, and nowhere else.
        allow_responses: { max: 1, expires: "1m" }
      }
    }
    {
      user: upstream, password: $NATS_PASSWORD_UPSTREAM
      permissions {
        publish: [
          "$JS.API.INFO", "hg.down.*.*"
          "hg.usage.*", "$JS.API.STREAM.INFO.USAGE", "$JS.API.STREAM.CREATE.USAGE", "$JS.API.STREAM.MSG.GET.USAGE"
          "$JS.API.STREAM.INFO.KV_leases", "$JS.API.STREAM.CREATE.KV_leases", "$JS.API.STREAM.UPDATE.KV_leases"
          "$JS.API.STREAM.MSG.GET.KV_leases"
          "$JS.API.DIRECT.GET.KV_leases.>", "$KV.leases.>"
        ]
        subscribe: ["_INBOX_upstream.>", "hg.claim", "hg.up.*.*", "hg.watermark.*"]
        allow_responses: { max: 1, expires: "1m" }
      }
    }
    {
      user: metering, password: $NATS_PASSWORD_METERING
      permissions {
        publish: [
          "$JS.API.INFO", "hg.watermark.*"
          "$JS.API.STREAM.INFO.USAGE", "$JS.API.STREAM.CREATE.USAGE", "$JS.API.STREAM.UPDATE.USAGE"
          "$JS.API.STREAM.INFO.CALLS", "$JS.API.STREAM.CREATE.CALLS", "$JS.API.STREAM.UPDATE.CALLS"
          "$JS.API.CONSUMER.CREATE.USAGE.metering.>", "$JS.API.CONSUMER.DURABLE.CREATE.USAGE.metering"
          "$JS.API.CONSUMER.INFO.USAGE.metering", "$JS.API.CONSUMER.DELETE.USAGE.metering"
          "$JS.API.CONSUMER.MSG.NEXT.USAGE.metering", "$JS.ACK.USAGE.metering.>"
          "$JS.API.CONSUMER.CREATE.CALLS.metering.>", "$JS.API.CONSUMER.DURABLE.CREATE.CALLS.metering"
          "$JS.API.CONSUMER.INFO.CALLS.metering"
          "$JS.API.CONSUMER.MSG.NEXT.CALLS.metering", "$JS.ACK.CALLS.metering.>"
        ]
        subscribe: ["_INBOX_metering.>"]
      }
    }
  ]
}
{{- end }}
