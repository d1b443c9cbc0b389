{{- /* One image reference: a digest wins over the tag, an empty tag is the appVersion. */ -}}
{{- define "handfast.image" -}}
{{- $image := .image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "handfast.labels" -}}
app.kubernetes.io/name: handfast
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* The labels by which a role's pods are selected; they never change. Arguments: root, role. */ -}}
{{- define "handfast.selector" -}}
app.kubernetes.io/name: handfast
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end -}}

{{- /* Where each of the operator's pods may run, from where, and as whom. */ -}}
{{- define "handfast.placing" -}}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{ toJson . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "handfast.unprivileged" -}}
{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
{{- end -}}

{{- /* A Deployment of one role. Arguments: root, role, healthPort, ports (list of name and port), serving (mounts a serving Secret). */ -}}
{{- define "handfast.deployment" -}}
{{- $root := .root -}}
{{- $values := index $root.Values .role -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: handfast-{{ .role }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "handfast.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
spec:
  replicas: {{ $values.replicas }}
  selector:
    matchLabels:
      {{- include "handfast.selector" . | nindent 6 }}
  strategy:
    # A new pod must be Ready before an old one goes: nobody is without an answer while it is replaced.
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
  template:
    metadata:
      labels:
        {{- include "handfast.labels" $root | nindent 8 }}
        app.kubernetes.io/component: {{ .role }}
      {{- with $root.Values.podAnnotations }}
      annotations: {{ toJson . }}
      {{- end }}
    spec:
      serviceAccountName: handfast-{{ .role }}
      {{- if $root.Values.topologySpreadConstraints }}
      {{- $selector := include "handfast.selector" . | fromYaml }}
      # Pods of a revision that is leaving do not count (matchLabelKeys), or a rolling update would end unbalanced.
      topologySpreadConstraints:
        {{- range $root.Values.topologySpreadConstraints }}
        - {{ toJson (merge (dict "labelSelector" (dict "matchLabels" $selector) "matchLabelKeys" (list "pod-template-hash")) .) }}
        {{- end }}
      {{- end }}
      {{- include "handfast.placing" $root | trim | nindent 6 }}
      containers:
        - name: {{ .role }}
          image: {{ include "handfast.image" (dict "image" $root.Values.images.operator "root" $root) | quote }}
          imagePullPolicy: {{ $root.Values.images.operator.pullPolicy }}
          args: [{{ .role }}]
          env:
            - name: HANDFAST_NAMESPACE
              valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
            - name: HANDFAST_POD_NAME
              valueFrom: {fieldRef: {fieldPath: metadata.name}}
            - {name: HANDFAST_TRUST_DOMAIN, value: {{ $root.Values.trustDomain | quote }}}
            - {name: HANDFAST_SIDECAR_IMAGE, value: {{ include "handfast.image" (dict "image" $root.Values.images.sidecar "root" $root) | quote }}}
            - {name: HANDFAST_SIDECAR_PULL_POLICY, value: {{ $root.Values.images.sidecar.pullPolicy | quote }}}
            - {name: HANDFAST_SIDECAR_RESOURCES, value: {{ toJson $root.Values.sidecar.resources | quote }}}
            - {name: HANDFAST_SIDECAR_LOG_LEVEL, value: {{ $root.Values.sidecar.logLevel | default $root.Values.logLevel | quote }}}
            - {name: HANDFAST_SIDECAR_CIPHER_SUITES, value: {{ join ":" $root.Values.sidecar.cipherSuites | quote }}}
            - {name: HANDFAST_ISSUER_SECRET, value: {{ $root.Values.issuer.secretName | quote }}}
            - {name: HANDFAST_CLUSTER_RANGES, value: {{ join "," $root.Values.clusterRanges | quote }}}
            - {name: HANDFAST_LOG_LEVEL, value: {{ $root.Values.logLevel | quote }}}
          ports:
            - {name: health, containerPort: {{ .healthPort }}}
            {{- range .ports }}
            - {name: {{ .name }}, containerPort: {{ .port }}}
            {{- end }}
          startupProbe:
            httpGet: {path: /healthz, port: health}
            periodSeconds: 1
            failureThreshold: 120
          readinessProbe:
            httpGet: {path: /readyz, port: health}
            periodSeconds: 2
          livenessProbe:
            httpGet: {path: /healthz, port: health}
            periodSeconds: 10
            failureThreshold: 6
          resources: {{ toJson $values.resources }}
          securityContext: {{ include "handfast.unprivileged" $root }}
          {{- if .serving }}
          volumeMounts:
            - {name: serving, mountPath: /var/run/handfast/serving, readOnly: true}
          {{- end }}
      {{- if .serving }}
      volumes:
        # Written by the controller: kubelet starts the pod when it is there.
        - name: serving
          secret: {secretName: handfast-{{ .role }}-tls, defaultMode: 0444}
      {{- end }}
{{- end -}}
