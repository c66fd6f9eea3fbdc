{{/* coturn's configuration: docs/turn.md, tested with coturn 4.6.1. Denied is every peer but those in the pods' range. */}}
{{- define "hushgate.coturn.config" -}}
{{- $v := .Values.turn.coturn -}}
listening-port=3478
{{- if $v.tls.existingSecret }}
tls-listening-port=5349
cert=/etc/coturn-tls/tls.crt
pkey=/etc/coturn-tls/tls.key
no-tlsv1
no-tlsv1_1
{{- else }}
no-tls
no-dtls
{{- end }}
fingerprint
use-auth-secret
realm={{ $v.realm }}
min-port={{ $v.minPort | int }}
max-port={{ $v.maxPort | int }}
user-quota={{ $v.userQuota | int }}
total-quota={{ $v.totalQuota | int }}
stale-nonce=600
no-cli
no-multicast-peers
no-tcp-relay
no-rfc5780
no-stun-backward-compatibility
response-origin-only-with-rfc5780
no-software-attribute
pidfile=/tmp/turnserver.pid
userdb=/tmp/turndb
log-file=stdout
simple-log
# Without it refusals are not logged.
verbose
# Bytes a second of one allocation: ten times what a call needs.
max-bps=64000
denied-peer-ip=0.0.0.0-255.255.255.255
denied-peer-ip=::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
# What is allowed wins over what is denied: media pods, on the ports of the NetworkPolicy.
allowed-peer-ip={{ $v.podRange }}
{{- end }}
