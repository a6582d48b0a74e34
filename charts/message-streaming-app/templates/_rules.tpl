{{/*
Rules over several values, which values.schema.json cannot express. Each ends the rendering with one
line that names the values and what is allowed. Every rule has a value set in ci/fail.
*/}}

{{/* Bytes of a Kubernetes quantity such as 640Mi, 1.5Gi or 2e9; the schema admits no other form. */}}
{{- define "app.quantityBytes" -}}
{{- $quantity := kindIs "string" . | ternary . (int64 . | toString) -}}
{{- $number := regexFind "^[0-9]+([.][0-9]+)?([eE][0-9]+)?" $quantity -}}
{{- $units := dict "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 "Pi" 1125899906842624.0 -}}
{{- mulf (float64 $number) (get $units (trimPrefix $number $quantity) | default 1.0) | int64 -}}
{{- end -}}

{{/* Messages of up to this many bytes, length included, must always find room. */}}
{{- define "app.largestFrameBytes" -}}1048580{{- end -}}

{{- define "app.rules" -}}
{{- $s := .Values.settings -}}
{{- $most := int64 .Values.replicaCount -}}
{{- $mostName := "replicaCount" -}}
{{- if .Values.autoscaling.enabled -}}
{{- $most = int64 .Values.autoscaling.maxReplicas -}}
{{- $mostName = "autoscaling.maxReplicas" -}}
{{- if lt $most (int64 .Values.autoscaling.minReplicas) -}}
{{- fail (printf "autoscaling.maxReplicas is %d: it must be at least autoscaling.minReplicas, %d" $most (int64 .Values.autoscaling.minReplicas)) -}}
{{- end -}}
{{- if not (dig "requests" "cpu" "" .Values.resources) -}}
{{- fail "autoscaling.enabled needs resources.requests.cpu: utilisation is measured against it" -}}
{{- end -}}
{{- end -}}
{{- $shared := include "app.sharedStorage" . -}}
{{- if and (gt $most 1) (not $shared) (not .Values.acceptIndependentBrokers) -}}
{{- fail (printf "%s is %d: brokers share nothing, so behind one Service a consumer gets the messages of one broker only; set acceptIndependentBrokers=true if that is what you want" $mostName $most) -}}
{{- end -}}

{{- if eq (int64 $s.TCP_PORT) (int64 $s.HTTP_PORT) -}}
{{- fail (printf "settings.TCP_PORT and settings.HTTP_PORT are both %d: they must differ" (int64 $s.TCP_PORT)) -}}
{{- end -}}
{{- if or (hasPrefix "127." $s.BIND_ADDRESS) (eq "::1" $s.BIND_ADDRESS) -}}
{{- fail (printf "settings.BIND_ADDRESS is %s, the pod's own loopback: neither clients nor probes would reach the broker; use 0.0.0.0 or ::" $s.BIND_ADDRESS) -}}
{{- end -}}
{{- if lt (int64 $s.BROKER_BYTES) (int64 $s.BACKLOG_BYTES) -}}
{{- fail (printf "settings.BROKER_BYTES is %d: it must be at least settings.BACKLOG_BYTES, %d" (int64 $s.BROKER_BYTES) (int64 $s.BACKLOG_BYTES)) -}}
{{- end -}}
{{- if and (eq $s.OVERFLOW "block") (eq $s.DELIVERY_MODE "broadcast") -}}
{{- $least := mul (int64 $s.MAX_CONSUMERS) (include "app.largestFrameBytes" . | int64) -}}
{{- if lt (int64 $s.BROKER_BYTES) $least -}}
{{- fail (printf "settings.BROKER_BYTES is %d: with OVERFLOW=block and DELIVERY_MODE=broadcast it must be at least MAX_CONSUMERS times %s, %d" (int64 $s.BROKER_BYTES) (include "app.largestFrameBytes" .) $least) -}}
{{- end -}}
{{- end -}}
{{- with dig "limits" "memory" "" .Values.resources -}}
{{- $least := add (mul 2 (int64 $s.BROKER_BYTES)) 134217728 -}}
{{- if lt (include "app.quantityBytes" . | int64) $least -}}
{{- fail (printf "resources.limits.memory is %v: with settings.BROKER_BYTES=%d it must be at least %d bytes (twice BROKER_BYTES and 128 MiB), or the kernel kills a broker whose consumers fall behind" . (int64 $s.BROKER_BYTES) $least) -}}
{{- end -}}
{{- if $s.RECORD_DIR -}}
{{- $least = add $least (div (int64 $s.RECORD_BYTES) 4) 134217728 -}}
{{- if lt (include "app.quantityBytes" . | int64) $least -}}
{{- fail (printf "resources.limits.memory is %v: with settings.RECORD_DIR it must be at least %d bytes (a quarter of RECORD_BYTES and 128 MiB more than without)" . $least) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- $claim := .Values.recording.existingClaim -}}
{{- if $claim -}}
{{- if not $s.RECORD_DIR -}}
{{- fail (printf "recording.existingClaim is %s, but settings.RECORD_DIR is empty: nothing would be recorded" $claim) -}}
{{- end -}}
{{- if or (gt $most 1) .Values.autoscaling.enabled -}}
{{- fail (printf "recording.existingClaim needs replicaCount=1 and no autoscaling: %s is %d, and two brokers must not record into one directory" $mostName $most) -}}
{{- end -}}
{{- else if $s.RECORD_DIR -}}
{{- with index (.Values.resources.limits | default dict) "ephemeral-storage" -}}
{{- if lt (include "app.quantityBytes" . | int64) (int64 $s.RECORD_BYTES) -}}
{{- fail (printf "resources.limits.ephemeral-storage is %v: it must be at least settings.RECORD_BYTES, %d, or the pod is evicted for what it records" . (int64 $s.RECORD_BYTES)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- $dataDir := include "app.dataDir" . -}}
{{- with $s.DATA_DIR -}}
{{- fail (printf "settings.DATA_DIR is %s, but the chart sets it, to %s: leave it empty, and use storage.enabled" . $dataDir) -}}
{{- end -}}
{{- if and $shared .Values.storage.enabled -}}
{{- fail (printf "storage.enabled needs another settings.STORAGE than %s, which stores nothing on a volume of the broker" $s.STORAGE) -}}
{{- end -}}
{{- if and (eq $s.STORAGE "rabbitmq") (not .Values.secrets.rabbitmq) -}}
{{- fail "settings.STORAGE is rabbitmq, but secrets.rabbitmq names no Secret: its key url says where RabbitMQ is" -}}
{{- end -}}
{{- if and .Values.secrets.rabbitmq (ne $s.STORAGE "rabbitmq") -}}
{{- fail (printf "secrets.rabbitmq is %s, but settings.STORAGE is %s: nothing would be kept in RabbitMQ" .Values.secrets.rabbitmq $s.STORAGE) -}}
{{- end -}}
{{- if and (eq $s.STORAGE "kafka") (not $s.KAFKA_BROKERS) -}}
{{- fail "settings.STORAGE is kafka, but settings.KAFKA_BROKERS does not say where Kafka is" -}}
{{- end -}}
{{- if $s.RABBITMQ_URL -}}
{{- fail "settings.RABBITMQ_URL is set, but a ConfigMap is no place for a password: use secrets.rabbitmq" -}}
{{- end -}}
{{- if .Values.storage.enabled -}}
{{- if .Values.autoscaling.enabled -}}
{{- fail "storage.enabled needs autoscaling.enabled=false: nobody reads what a broker that is scaled away has stored" -}}
{{- end -}}
{{- if and .Values.storage.existingClaim (gt $most 1) -}}
{{- fail (printf "storage.existingClaim needs replicaCount=1: it is %d, and each broker needs a claim of its own" $most) -}}
{{- end -}}
{{- $least := add (int64 $s.DISK_RESERVE_BYTES) (mul 2 (int64 $s.SEGMENT_BYTES)) -}}
{{- if and (not .Values.storage.existingClaim) (lt (include "app.quantityBytes" .Values.storage.size | int64) $least) -}}
{{- fail (printf "storage.size is %v: it must be at least %d bytes (settings.DISK_RESERVE_BYTES, and settings.SEGMENT_BYTES twice: for the last segment of a topic and for the next), or the disk is full with the first segment" .Values.storage.size $least) -}}
{{- end -}}
{{- if hasPrefix (printf "%s/" $dataDir) (printf "%s/" $s.RECORD_DIR) -}}
{{- fail (printf "settings.RECORD_DIR is %s: with storage.enabled it must be outside %s, where stored topics are" $s.RECORD_DIR $dataDir) -}}
{{- end -}}
{{- else if and (ne $s.STORAGE "memory") (not $shared) -}}
{{- fail (printf "settings.STORAGE is %s, but there is no volume to store on: set storage.enabled=true" $s.STORAGE) -}}
{{- else if .Values.storage.existingClaim -}}
{{- fail (printf "storage.existingClaim is %s, but storage.enabled is false: nothing would be stored" .Values.storage.existingClaim) -}}
{{- end -}}

{{- range .Values.extraEnv -}}
{{- if hasKey $s .name -}}
{{- fail (printf "extraEnv holds %s, which is a setting: use settings.%s" .name .name) -}}
{{- end -}}
{{- end -}}
{{- $volumes := list -}}
{{- range .Values.extraVolumes -}}
{{- if or (has .name $volumes) (eq .name "recording") (and (eq .name "data") $.Values.storage.enabled) (get $.Values.secrets .name) -}}
{{- fail (printf "extraVolumes holds a second volume named %s: use another name" .name) -}}
{{- end -}}
{{- $volumes = append $volumes .name -}}
{{- end -}}
{{- range .Values.extraVolumeMounts -}}
{{- if not (has .name $volumes) -}}
{{- fail (printf "extraVolumeMounts mounts %s, which extraVolumes does not hold" .name) -}}
{{- end -}}
{{- if eq (trimSuffix "/" .mountPath) (default "/" $s.RECORD_DIR) -}}
{{- fail (printf "extraVolumeMounts mounts %s at settings.RECORD_DIR, %s, where recordings are: use another path, or recording.existingClaim" .name $s.RECORD_DIR) -}}
{{- end -}}
{{- if and $.Values.storage.enabled (hasPrefix (printf "%s/" $dataDir) (printf "%s/" .mountPath)) -}}
{{- fail (printf "extraVolumeMounts mounts %s at %s: with storage.enabled it must be outside %s, where stored topics are" .name .mountPath $dataDir) -}}
{{- end -}}
{{- end -}}

{{- range $setting, $secret := dict "TLS_CERT_FILE" "tls" "TLS_KEY_FILE" "tls" "TLS_CLIENT_CA_FILE" "tls" "AUTH_TOKENS_FILE" "auth" "AUTH_JWKS_FILE" "auth" "RABBITMQ_CA_FILE" "rabbitmq" "KAFKA_CONFIG_FILE" "kafka" -}}
{{- $place := printf "/etc/message-queue/%s" $secret -}}
{{- if and (hasPrefix (printf "%s/" $place) (get $s $setting)) (not (get $.Values.secrets $secret)) -}}
{{- fail (printf "settings.%s is in %s, where secrets.%s would be, but that names no Secret" $setting $place $secret) -}}
{{- end -}}
{{- end -}}
{{- with .Values.clients.tls -}}
{{- if .enabled -}}
{{- if eq (toString $s.TLS_PORT) "off" -}}
{{- fail "clients.tls.enabled needs settings.TLS_PORT: the broker does not speak TLS" -}}
{{- end -}}
{{- if not .secret -}}
{{- fail "clients.tls.enabled needs clients.tls.secret: the image trusts no authority by itself" -}}
{{- end -}}
{{- if and (eq $s.TLS_CLIENT_AUTH "required") (not .certificate) -}}
{{- fail "settings.TLS_CLIENT_AUTH is required, but clients.tls.certificate is false: the broker would turn the chart's own clients away" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- if and (ne .Values.service.type "ClusterIP") .Values.networkPolicy.enabled -}}
{{- $outside := false -}}
{{- range .Values.networkPolicy.clients -}}
{{- if hasKey . "ipBlock" -}}{{- $outside = true -}}{{- end -}}
{{- end -}}
{{- if not $outside -}}
{{- fail (printf "service.type is %s, for clients outside the cluster, but networkPolicy.clients admits none: add their ipBlock, such as {ipBlock: {cidr: 192.0.2.0/24}}" .Values.service.type) -}}
{{- end -}}
{{- end -}}
{{- range list "loadBalancerSourceRanges" "loadBalancerClass" -}}
{{- if and (index $.Values.service .) (ne $.Values.service.type "LoadBalancer") -}}
{{- fail (printf "service.%s needs service.type=LoadBalancer, not %s" . $.Values.service.type) -}}
{{- end -}}
{{- end -}}
{{- range list "nodePort" "externalTrafficPolicy" -}}
{{- if and (index $.Values.service .) (eq $.Values.service.type "ClusterIP") -}}
{{- fail (printf "service.%s needs service.type=NodePort or LoadBalancer, not ClusterIP" .) -}}
{{- end -}}
{{- end -}}
{{- if and (has "IPv6" .Values.service.ipFamilies) (contains "." $s.BIND_ADDRESS) -}}
{{- fail (printf "service.ipFamilies holds IPv6, but settings.BIND_ADDRESS is %s, which nobody reaches over IPv6: use ::" $s.BIND_ADDRESS) -}}
{{- end -}}
{{- if and (eq .Values.service.ipFamilyPolicy "SingleStack") (gt (len .Values.service.ipFamilies) 1) -}}
{{- fail "service.ipFamilyPolicy is SingleStack, but service.ipFamilies holds two: use PreferDualStack or RequireDualStack" -}}
{{- end -}}

{{- $labels := fromYaml (include "app.labels" (list . "broker")) -}}
{{- $alert := dict "severity" "" "alertname" "" -}}
{{- $owned := dict "podLabels" $labels "serviceMonitor.labels" $labels "prometheusRule.labels" $labels "prometheusRule.alertLabels" $alert "podAnnotations" (dict "checksum/settings" "") -}}
{{- $given := dict "podLabels" .Values.podLabels "serviceMonitor.labels" .Values.serviceMonitor.labels "prometheusRule.labels" .Values.prometheusRule.labels "prometheusRule.alertLabels" .Values.prometheusRule.alertLabels "podAnnotations" .Values.podAnnotations -}}
{{- range $where, $names := $owned -}}
{{- range $name := keys (get $given $where) | sortAlpha -}}
{{- if hasKey $names $name -}}
{{- fail (printf "%s holds %s, which the chart sets itself: use another name" $where $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- if and .Values.prometheusRule.enabled (not .Values.serviceMonitor.enabled) -}}
{{- fail "prometheusRule.enabled needs serviceMonitor.enabled: the alerts go by the names that it gives" -}}
{{- end -}}
{{- if regexMatch "(:[^/]*|@.*)$" .Values.image.repository -}}
{{- fail (printf "image.repository is %s, which holds a tag or a digest: give these as image.tag and image.digest" .Values.image.repository) -}}
{{- end -}}
{{- if .Chart.IsRoot -}}
{{- range $name, $value := .Values.global -}}
{{- if not (has $name (list "imageRegistry" "imagePullSecrets")) -}}
{{- fail (printf "global.%s is not a value of this chart: it knows global.imageRegistry and global.imagePullSecrets" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- if and .Values.producer.enabled .Values.producer.rate -}}
{{- /* The least that can be in the file: empty lines, a header and line breaks within quotes are no messages. */ -}}
{{- $file := include "app.producerFile" . -}}
{{- $header := 0 -}}
{{- if eq .Values.producer.format "csv" -}}
{{- $header = 1 -}}
{{- $file = regexReplaceAll "\"[^\"]*\"" $file "quoted" -}}
{{- end -}}
{{- $messages := sub (regexFindAll "[^\r\n]+" $file -1 | len) $header -}}
{{- $seconds := div (mul $messages (int64 .Values.producer.repeat)) (int64 .Values.producer.rate) -}}
{{- if gt $seconds (int64 .Values.producer.activeDeadlineSeconds) -}}
{{- fail (printf "producer.activeDeadlineSeconds is %d: %d messages at producer.rate=%d and producer.repeat=%d take %d s" (int64 .Values.producer.activeDeadlineSeconds) $messages (int64 .Values.producer.rate) (int64 .Values.producer.repeat) $seconds) -}}
{{- end -}}
{{- end -}}

{{- if .Values.consumer.enabled -}}
{{- $places := mul (int64 .Values.replicaCount) (int64 $s.MAX_CONSUMERS) -}}
{{- if gt (int64 .Values.consumer.replicaCount) $places -}}
{{- fail (printf "consumer.replicaCount is %d: settings.MAX_CONSUMERS admits %d to a broker, %d in all" (int64 .Values.consumer.replicaCount) (int64 $s.MAX_CONSUMERS) $places) -}}
{{- end -}}
{{- end -}}
{{- end -}}
