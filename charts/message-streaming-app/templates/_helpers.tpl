{{/*
The name of the release's objects: a DNS label that begins with a letter, as a Service needs it, short
enough for "-producer" on a CronJob (52 characters), and no word that YAML reads as something else. A name
that has to be changed for that ends in a hash of what it was, so that no two releases share one.
*/}}
{{- define "app.fullname" -}}
{{- $base := default .Chart.Name .Values.nameOverride -}}
{{- $wanted := printf "%s-%s" .Release.Name $base -}}
{{- if contains $base .Release.Name -}}
{{- $wanted = .Release.Name -}}
{{- end -}}
{{- $wanted = default $wanted .Values.fullnameOverride -}}
{{- $name := regexReplaceAll "^[0-9]" ($wanted | replace "." "-") "r${0}" -}}
{{- $words := list "true" "false" "yes" "no" "on" "off" "y" "n" "null" -}}
{{- if or (ne $name $wanted) (gt (len $name) 43) (has $name $words) -}}
{{- $start := regexReplaceAll "-+$" (trunc 34 $name) "" -}}
{{- $name = printf "%s-%s" $start (sha256sum $wanted | trunc 8) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{/* What all pods of the release have in common. */}}
{{- define "app.releaseLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
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

{{/* A user's labels or annotations beside the chart's own, a line each. */}}
{{- define "app.pairs" -}}
{{- range $name, $value := . -}}
{{ toJson $name }}: {{ toJson $value }}
{{ end -}}
{{- end -}}

{{- define "app.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "app.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The image. global.imageRegistry takes the place of the registry that image.repository names, if any. */}}
{{- define "app.image" -}}
{{- $repository := .Values.image.repository -}}
{{- with dig "imageRegistry" "" (.Values.global | default dict) -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) (regexReplaceAll "^(localhost|[^/]*[.:][^/]*)/" $repository "") -}}
{{- end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The secrets to pull the image with, as JSON: those of the release, and those of all charts of it. */}}
{{- define "app.pullSecrets" -}}
{{- $secrets := .Values.image.pullSecrets -}}
{{- range dig "imagePullSecrets" list (.Values.global | default dict) -}}
{{- $secrets = append $secrets (kindIs "string" . | ternary (dict "name" .) .) -}}
{{- end -}}
{{- uniq $secrets | toJson -}}
{{- end -}}

{{/* The address families of a Service. */}}
{{- define "app.ipFamilies" -}}
ipFamilyPolicy: {{ .Values.service.ipFamilyPolicy }}
{{- with .Values.service.ipFamilies }}
ipFamilies: {{ toJson . }}
{{- end }}
{{- end -}}

{{/* What the producer sends, as it is. */}}
{{- define "app.producerFile" -}}
{{- .Values.producer.fileContent | default (.Files.Get "files/telemetry.csv") -}}
{{- end -}}

{{/* Where the volume of stored topics is mounted. */}}
{{- define "app.dataDir" -}}/data{{- end -}}

{{/* Whether brokers share what they store, and so are one service: the word true, or nothing. */}}
{{- define "app.sharedStorage" -}}
{{- if has .Values.settings.STORAGE (list "rabbitmq" "kafka") -}}true{{- end -}}
{{- end -}}

{{/* The broker's variables beside its ConfigMap, as JSON: the user's, and what is in a Secret. */}}
{{- define "app.env" -}}
{{- $env := .Values.extraEnv -}}
{{- with .Values.secrets.rabbitmq -}}
{{- $env = append $env (dict "name" "RABBITMQ_URL" "valueFrom" (dict "secretKeyRef" (dict "name" . "key" "url"))) -}}
{{- end -}}
{{- toJson $env -}}
{{- end -}}

{{/* The settings that the broker gets, as JSON: the user's, and with a volume to store on those that use it. */}}
{{- define "app.settings" -}}
{{- $settings := .Values.settings -}}
{{- if .Values.storage.enabled -}}
{{- $settings = merge (dict "STORAGE" (eq $settings.STORAGE "memory" | ternary "disk" $settings.STORAGE) "DATA_DIR" (include "app.dataDir" .)) $settings -}}
{{- end -}}
{{- /* It comes from the Secret. */ -}}
{{- if .Values.secrets.rabbitmq -}}
{{- $settings = omit $settings "RABBITMQ_URL" -}}
{{- end -}}
{{- toJson $settings -}}
{{- end -}}

{{/*
The broker's volumes, as JSON: one for the flight recorder where it is on, the claim of stored topics where it is the
user's, the user's, and those of Secrets. The StatefulSet's own claim is mounted by name alone.
*/}}
{{- define "app.volumes" -}}
{{- $volumes := .Values.extraVolumes -}}
{{- if .Values.storage.enabled -}}
{{- with .Values.storage.existingClaim -}}
{{- $volumes = prepend $volumes (dict "name" "data" "persistentVolumeClaim" (dict "claimName" .)) -}}
{{- end -}}
{{- end -}}
{{- if .Values.settings.RECORD_DIR -}}
{{- $source := dict "emptyDir" dict -}}
{{- with .Values.recording.existingClaim -}}
{{- $source = dict "persistentVolumeClaim" (dict "claimName" .) -}}
{{- end -}}
{{- $volumes = prepend $volumes (merge (dict "name" "recording") $source) -}}
{{- end -}}
{{- range $name, $secret := .Values.secrets -}}
{{- if $secret -}}
{{- $volumes = append $volumes (dict "name" $name "secret" (dict "secretName" $secret "defaultMode" 288)) -}}
{{- end -}}
{{- end -}}
{{- toJson $volumes -}}
{{- end -}}

{{- define "app.volumeMounts" -}}
{{- $mounts := .Values.extraVolumeMounts -}}
{{- if .Values.storage.enabled -}}
{{- $mounts = prepend $mounts (dict "name" "data" "mountPath" (include "app.dataDir" .)) -}}
{{- end -}}
{{- with .Values.settings.RECORD_DIR -}}
{{- $mounts = prepend $mounts (dict "name" "recording" "mountPath" .) -}}
{{- end -}}
{{- range $name, $secret := .Values.secrets -}}
{{- if $secret -}}
{{- $mounts = append $mounts (dict "name" $name "mountPath" (printf "/etc/message-queue/%s" $name) "readOnly" true) -}}
{{- end -}}
{{- end -}}
{{- toJson $mounts -}}
{{- end -}}

{{/* Whether the broker listens for TLS: then its port, otherwise nothing. */}}
{{- define "app.tlsPort" -}}
{{- if ne (toString .Values.settings.TLS_PORT) "off" -}}
{{- int64 .Values.settings.TLS_PORT -}}
{{- end -}}
{{- end -}}

{{/* By what probes and Prometheus ask. */}}
{{- define "app.httpScheme" -}}
{{- eq .Values.settings.HTTP_TLS "on" | ternary "https" "http" -}}
{{- end -}}

{{/* host:port at which clients inside the cluster reach the broker. */}}
{{- define "app.brokerAddress" -}}
{{- printf "%s:%d" (include "app.fullname" .) (int64 .Values.service.port) -}}
{{- end -}}

{{/* The same for the chart's own clients, which may speak TLS. */}}
{{- define "app.clientAddress" -}}
{{- if .Values.clients.tls.enabled -}}
{{- printf "%s:%d" (include "app.fullname" .) (int64 .Values.service.tlsPort) -}}
{{- else -}}
{{- include "app.brokerAddress" . -}}
{{- end -}}
{{- end -}}

{{/* Where the files of the chart's own clients are. */}}
{{- define "app.clientTlsDir" -}}/etc/message-queue/client-tls{{- end -}}
{{- define "app.clientTokenDir" -}}/etc/message-queue/client-token{{- end -}}

{{/* The arguments by which one of the chart's own clients comes to the broker, as JSON. */}}
{{- define "app.clientArgs" -}}
{{- $args := list (printf "--addr=%s" (include "app.clientAddress" .)) -}}
{{- $directory := include "app.clientTlsDir" . -}}
{{- with .Values.clients.tls -}}
{{- if .enabled -}}
{{- $args = concat $args (list "--tls" (printf "--ca=%s/ca.crt" $directory)) -}}
{{- if .certificate -}}
{{- $args = concat $args (list (printf "--cert=%s/tls.crt" $directory) (printf "--key=%s/tls.key" $directory)) -}}
{{- end -}}
{{- with .serverName -}}
{{- $args = append $args (printf "--server-name=%s" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if .Values.clients.tokens -}}
{{- $args = append $args (printf "--token-file=%s/token" (include "app.clientTokenDir" .)) -}}
{{- end -}}
{{- toJson $args -}}
{{- end -}}

{{/* The volumes of the Secrets of one of the chart's own clients, as JSON. Argument: the root context and the client. */}}
{{- define "app.clientVolumes" -}}
{{- $root := index . 0 -}}
{{- $volumes := list -}}
{{- with $root.Values.clients.tls -}}
{{- if .enabled -}}
{{- $volumes = append $volumes (dict "name" "client-tls" "secret" (dict "secretName" .secret "defaultMode" 288)) -}}
{{- end -}}
{{- end -}}
{{- with $root.Values.clients.tokens -}}
{{- $item := dict "key" (index $ 1) "path" "token" -}}
{{- $volumes = append $volumes (dict "name" "client-token" "secret" (dict "secretName" . "defaultMode" 288 "items" (list $item))) -}}
{{- end -}}
{{- toJson $volumes -}}
{{- end -}}

{{- define "app.clientMounts" -}}
{{- $mounts := list -}}
{{- if .Values.clients.tls.enabled -}}
{{- $mounts = append $mounts (dict "name" "client-tls" "mountPath" (include "app.clientTlsDir" .) "readOnly" true) -}}
{{- end -}}
{{- if .Values.clients.tokens -}}
{{- $mounts = append $mounts (dict "name" "client-token" "mountPath" (include "app.clientTokenDir" .) "readOnly" true) -}}
{{- end -}}
{{- toJson $mounts -}}
{{- end -}}

{{/* The arguments by which the test asks whether the broker is ready, as JSON. */}}
{{- define "app.healthArgs" -}}
{{- $args := list (printf "--addr=%s" (include "app.httpAddress" .)) -}}
{{- if and .Values.clients.tls.enabled (eq (include "app.httpScheme" .) "https") -}}
{{- $args = concat $args (list "--tls" (printf "--ca=%s/ca.crt" (include "app.clientTlsDir" .))) -}}
{{- end -}}
{{- toJson $args -}}
{{- end -}}

{{/* host:port of /healthz, /ready, /metrics and /consumers inside the cluster. */}}
{{- define "app.httpAddress" -}}
{{- printf "%s-http:%d" (include "app.fullname" .) (int64 .Values.settings.HTTP_PORT) -}}
{{- end -}}

{{/*
The parts of a pod's specification that all components share. Whatever a user wrote is rendered as JSON,
which YAML reads as it is: no indentation can change it.
*/}}
{{- define "app.podDefaults" -}}
serviceAccountName: {{ include "app.serviceAccountName" . | quote }}
automountServiceAccountToken: false
# A Service named "tcp" would otherwise put TCP_PORT=tcp://... into the environment.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  # A volume that is written to belongs to this group.
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with include "app.pullSecrets" . | fromJsonArray }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ toJson . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- end -}}

{{/* The parts of a container's specification that all components share. */}}
{{- define "app.containerDefaults" -}}
image: {{ include "app.image" . | toJson }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}
