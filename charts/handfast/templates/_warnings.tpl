{{- /* Of values that are allowed and may hurt, one line each. */ -}}
{{- define "handfast.warnings" -}}
{{- $values := .Values }}
{{- if lt (int $values.webhook.replicas) 2 }}
- webhook.replicas is 1: while it restarts, no pod that opted in can be created.
{{- end }}
{{- if lt (int $values.directory.replicas) 2 }}
- directory.replicas is 1: while it restarts, a pod that meets a peer for the first time is refused.
{{- end }}
{{- if lt (int $values.controller.replicas) 2 }}
- controller.replicas is 1: when its node is lost, new pods get no identity until it runs elsewhere.
{{- end }}
{{- if not $values.podDisruptionBudget.enabled }}
- podDisruptionBudget.enabled is false: draining two nodes at once may end all replicas of a role.
{{- end }}
{{- if not $values.crds.keep }}
- crds.keep is false: `helm uninstall` deletes every MTLSPolicy, ClusterMTLSPolicy, TrustDomain, AccessRequest and AccessGrant.
{{- end }}
{{- if not (or $values.crds.enabled (.Capabilities.APIVersions.Has "handfast.dev/v1alpha1/TrustDomain")) }}
- crds.enabled is false and this cluster has no handfast.dev/v1alpha1: the controller waits until somebody applies the CRDs.
{{- end }}
{{- if has .Release.Namespace (list "default" "kube-system") }}
- It is installed in {{ .Release.Namespace }}: pods of the operator's own namespace and of kube-system never get a sidecar.
{{- end }}
{{- range $part, $image := $values.images }}
{{- if and (eq ($image.tag | default "") "latest") (not $image.digest) }}
- images.{{ $part }}.tag is "latest": what runs may change with each restart. Name a version, or better a digest.
{{- end }}
{{- end }}
{{- if and $values.networkPolicy.enabled (not $values.networkPolicy.apiServer.cidrs) }}
- networkPolicy.apiServer.cidrs is empty: the webhook's port is open to everybody who can route to it (it still speaks TLS,
  and answers reviews of anybody). Name where your API server is.
{{- end }}
{{- with include "handfast.issuerWarning" . | trim }}
{{ . }}
{{- end }}
{{- end -}}

{{- /* issuer.secretName counts when the TrustDomain is made; said here where it has no effect any more. */ -}}
{{- define "handfast.issuerWarning" -}}
{{- if .Capabilities.APIVersions.Has "handfast.dev/v1alpha1/TrustDomain" }}
{{- $domain := lookup "handfast.dev/v1alpha1" "TrustDomain" "" .Values.trustDomain | default dict }}
{{- $wanted := .Values.issuer.secretName }}
{{- $held := dig "spec" "issuer" "secretRef" "name" "" $domain }}
{{- if and $domain $wanted (ne $wanted $held) }}
- issuer.secretName is {{ $wanted | quote }}, but the TrustDomain {{ .Values.trustDomain }} exists already and says
  {{ if $held }}{{ $held | quote }}{{ else }}selfSigned{{ end }}, which holds: the value has no effect. To change who signs (docs/certificates.md says what happens then):
    kubectl patch trustdomain {{ .Values.trustDomain }} --type=merge \
      -p '{"spec": {"issuer": {"selfSigned": null, "secretRef": {"name": "{{ $wanted }}"}}}}'
{{- else if and (not $domain) $wanted }}
{{- include "handfast.issuerNext" . }}
{{- end }}
{{- else if .Values.issuer.secretName }}
{{- include "handfast.issuerNext" . }}
{{- end }}
{{- end -}}

{{- define "handfast.issuerNext" }}
- issuer.secretName is {{ .Values.issuer.secretName | quote }}: until that Secret is in {{ .Release.Namespace }} and is accepted, the operator signs with a root
  of its own. `kubectl get trustdomain {{ .Values.trustDomain }} -o yaml` says in the condition IssuerAccepted how it stands.
{{- end }}
