{{/* The template of a broker's pods: of the Deployment, and of the StatefulSet where topics are stored. */}}
{{- define "app.brokerTemplate" -}}
metadata:
  annotations:
    # The broker reads its settings once, at its start: a change of them is a new pod.
    checksum/settings: {{ include "app.settings" . | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- include "app.pairs" . | trim | nindent 4 }}
    {{- end }}
  labels:
    {{- include "app.labels" (list . "broker") | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- include "app.pairs" . | trim | nindent 4 }}
    {{- end }}
spec:
  {{- include "app.podDefaults" . | nindent 2 }}
  terminationGracePeriodSeconds: {{ include "app.gracePeriodSeconds" . }}
  {{- with .Values.affinity }}
  affinity: {{ toJson . }}
  {{- end }}
  {{- with .Values.topologySpread }}
  topologySpreadConstraints:
    {{- range . }}
    - topologyKey: {{ toJson .topologyKey }}
      maxSkew: {{ .maxSkew }}
      whenUnsatisfiable: {{ .whenUnsatisfiable }}
      matchLabelKeys: [{{ $.Values.storage.enabled | ternary "controller-revision-hash" "pod-template-hash" }}]
      labelSelector:
        matchLabels:
          {{- include "app.selectorLabels" (list $ "broker") | nindent 10 }}
    {{- end }}
  {{- end }}
  containers:
    - name: broker
      {{- include "app.containerDefaults" . | nindent 6 }}
      args: [serve]
      envFrom:
        - configMapRef:
            name: {{ include "app.fullname" . }}
      {{- with include "app.env" . | fromJsonArray }}
      env: {{ toJson . }}
      {{- end }}
      ports:
        - name: broker
          containerPort: {{ .Values.settings.TCP_PORT }}
        {{- with include "app.tlsPort" . }}
        - name: broker-tls
          containerPort: {{ . }}
        {{- end }}
        - name: http
          containerPort: {{ .Values.settings.HTTP_PORT }}
      {{- if .Values.storage.enabled }}
      # Ten minutes to open what is stored and bind its ports, then alive within 30 s, ready within 5 s.
      {{- else }}
      # Half a minute to bind its ports, then alive within 30 s, ready within 5 s.
      {{- end }}
      startupProbe:
        httpGet:
          path: /healthz
          port: http
          {{- if eq (include "app.httpScheme" .) "https" }}
          scheme: HTTPS
          {{- end }}
        periodSeconds: 1
        failureThreshold: {{ .Values.storage.enabled | ternary 600 30 }}
      livenessProbe:
        httpGet:
          path: /healthz
          port: http
          {{- if eq (include "app.httpScheme" .) "https" }}
          scheme: HTTPS
          {{- end }}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 3
      readinessProbe:
        httpGet:
          path: /ready
          port: http
          {{- if eq (include "app.httpScheme" .) "https" }}
          scheme: HTTPS
          {{- end }}
        periodSeconds: 5
        timeoutSeconds: 2
        failureThreshold: 1
      {{- if include "app.preStopSeconds" . | int64 }}
      lifecycle:
        preStop:
          sleep:
            seconds: {{ include "app.preStopSeconds" . }}
      {{- end }}
      resources: {{ toJson .Values.resources }}
      {{- with include "app.volumeMounts" . | fromJsonArray }}
      volumeMounts: {{ toJson . }}
      {{- end }}
  {{- with include "app.volumes" . | fromJsonArray }}
  volumes: {{ toJson . }}
  {{- end }}
{{- end -}}
