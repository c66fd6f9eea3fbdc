{{/* coturn's configuration. Denied is every special range of IANA's registries; only the pods' range is not. */}}
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
{{- range list "0.0.0.0-0.255.255.255" "10.0.0.0-10.255.255.255" "100.64.0.0-100.127.255.255" "127.0.0.0-127.255.255.255" "169.254.0.0-169.254.255.255" "172.16.0.0-172.31.255.255" "192.0.0.0-192.0.0.255" "192.0.2.0-192.0.2.255" "192.88.99.0-192.88.99.255" "192.168.0.0-192.168.255.255" "198.18.0.0-198.19.255.255" "198.51.100.0-198.51.100.255" "203.0.113.0-203.0.113.255" "224.0.0.0-255.255.255.255" "::" "::1" "::ffff:0:0-::ffff:ffff:ffff" "64:ff9b::-64:ff9b::ffff:ffff" "64:ff9b:1::-64:ff9b:1:ffff:ffff:ffff:ffff:ffff" "100::-100::ffff:ffff:ffff:ffff" "2001::-2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff" "2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff" "2002::-2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff" "fc00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" "fe80::-febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff" "ff00::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" }}
denied-peer-ip={{ . }}
{{- end }}
# What is allowed wins over what is denied: media pods, on the ports of the NetworkPolicy.
allowed-peer-ip={{ $v.podRange }}
{{- end }}
