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
      app.kubernetes.io/name: handfast
      app.kubernetes.io/instance: {{ $root.Release.Name }}
      app.kubernetes.io/component: {{ .role }}
  strategy:
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
  template:
    metadata:
      labels:
        {{- include "handfast.labels" $root | nindent 8 }}
        app.kubernetes.io/component: {{ .role }}
    spec:
      serviceAccountName: handfast-{{ .role }}
      {{- with $root.Values.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- with $root.Values.imagePullSecrets }}
      imagePullSecrets: {{ toJson . }}
      {{- end }}
      {{- with $root.Values.nodeSelector }}
      nodeSelector: {{ toJson . }}
      {{- end }}
      {{- with $root.Values.tolerations }}
      tolerations: {{ toJson . }}
      {{- end }}
      {{- with $root.Values.affinity }}
      affinity: {{ toJson . }}
      {{- end }}
      securityContext:
        runAsNonRoot: true
        runAsUser: 65532
        runAsGroup: 65532
        seccompProfile: {type: RuntimeDefault}
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
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
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
