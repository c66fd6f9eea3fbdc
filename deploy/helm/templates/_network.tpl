{{/* The beginning of a role's policy: root, component. */}}
{{- define "hushgate.policy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "hushgate.metadata" . | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "hushgate.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
{{- end }}

{{/* A component's labels on one line. */}}
{{- define "hushgate.flatSelector" -}}
{{ include "hushgate.selector" . | replace "\n" ", " }}
{{- end }}

{{/* The port of a URL, its scheme's own if it names none. */}}
{{- define "hushgate.urlPort" -}}
{{- $url := urlParse . -}}
{{- $named := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- default (get (dict "https" "443" "http" "80" "nats" "4222" "tls" "4222") $url.scheme) $named -}}
{{- end }}

{{/* Prometheus asks a pod. */}}
{{- define "hushgate.scraped" -}}
- from: [{ namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: {{ .Values.networkPolicy.monitoringNamespace }} } } }]
  ports: [{ protocol: TCP, port: http }]
{{- end }}

{{/* What every role may ask: names, and with `bus` NATS and the collector of traces. */}}
{{- define "hushgate.egress" -}}
- to:
    - namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: {{ .root.Values.networkPolicy.dnsNamespace }} } }
    # NodeLocal DNSCache.
    - ipBlock: { cidr: 169.254.20.10/32 }
  ports: [{ protocol: UDP, port: 53 }, { protocol: TCP, port: 53 }]
{{- if .bus }}
{{- if .root.Values.nats.enabled }}
- to: [{ podSelector: { matchLabels: { {{ include "hushgate.flatSelector" (dict "root" .root "component" "nats") }} } } }]
  ports: [{ protocol: TCP, port: nats }]
{{- else }}
- ports: [{ protocol: TCP, port: {{ include "hushgate.urlPort" .root.Values.nats.external.url }} }]
{{- end }}
{{- with .root.Values.tracing.endpoint }}
- ports: [{ protocol: TCP, port: {{ include "hushgate.urlPort" . }} }]
{{- end }}
{{- end }}
{{- end }}

{{/* The port of a turn: or turns: URL (RFC 7065). */}}
{{- define "hushgate.turnPort" -}}
{{- $port := regexFind ":[0-9]+(\\?|$)" . | trimPrefix ":" | trimSuffix "?" -}}
{{- default (ternary "5349" "3478" (hasPrefix "turns:" .)) $port -}}
{{- end }}
