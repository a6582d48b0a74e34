{{/* The name of the release's objects. Short enough for "-producer" on a CronJob (52 characters). */}}
{{- define "app.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 43 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 43 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 43 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What all pods of the release have in common. */}}
{{- define "app.releaseLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* What selects the pods of one component. Argument: a list of the root context and the component. */}}
{{- define "app.selectorLabels" -}}
{{ include "app.releaseLabels" (index . 0) }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* What selects the release's own clients of the broker. */}}
{{- define "app.clientSelector" -}}
matchLabels:
  {{- include "app.releaseLabels" . | nindent 2 }}
matchExpressions:
  - key: app.kubernetes.io/component
    operator: In
    values: [producer, consumer, test]
{{- end -}}

{{/* All labels of an object of one component. Argument: as for app.selectorLabels. */}}
{{- define "app.labels" -}}
{{- $root := index . 0 -}}
{{ include "app.selectorLabels" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: {{ $root.Chart.Name }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "app.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "app.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "app.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* host:port at which clients inside the cluster reach the broker. */}}
{{- define "app.brokerAddress" -}}
{{- printf "%s:%d" (include "app.fullname" .) (int64 .Values.service.port) -}}
{{- end -}}

{{/* host:port of /healthz, /ready, /metrics and /consumers inside the cluster. */}}
{{- define "app.httpAddress" -}}
{{- printf "%s-http:%d" (include "app.fullname" .) (int64 .Values.settings.HTTP_PORT) -}}
{{- end -}}

{{/* The parts of a pod's specification that all components share. */}}
{{- define "app.podDefaults" -}}
serviceAccountName: {{ include "app.serviceAccountName" . }}
automountServiceAccountToken: false
# A Service named "tcp" would otherwise put TCP_PORT=tcp://... into the environment.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The parts of a container's specification that all components share. */}}
{{- define "app.containerDefaults" -}}
image: {{ include "app.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}
