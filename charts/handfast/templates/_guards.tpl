{{- /* What would break a mesh that runs, refused before anything is changed. They ask the cluster, so `helm template`, which
knows none, passes them. */ -}}
{{- define "handfast.guards" -}}
{{- $webhooks := lookup "admissionregistration.k8s.io/v1" "MutatingWebhookConfiguration" "" "handfast" | default dict }}
{{- $owner := dig "metadata" "annotations" "meta.helm.sh/release-namespace" "" $webhooks }}
{{- if and $owner (ne $owner .Release.Namespace) }}
{{- fail (printf "Handfast is installed already, in the namespace %s: a cluster has one. Upgrade that release, or uninstall it first" $owner) }}
{{- end }}
{{- $deployment := lookup "apps/v1" "Deployment" .Release.Namespace "handfast-controller" | default dict }}
{{- range dig "spec" "template" "spec" "containers" list $deployment }}
{{- range (.env | default list) }}
{{- if and (eq .name "HANDFAST_TRUST_DOMAIN") (ne (.value | default $.Values.trustDomain) $.Values.trustDomain) }}
{{- fail (printf "trustDomain is %q, but the release that runs has %q, and sidecars of two trust domains refuse each other. Set trustDomain=%s; or, to change it, uninstall, install, and restart every meshed workload" $.Values.trustDomain .value .value) }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
