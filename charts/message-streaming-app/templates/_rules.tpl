{{/*
Rules over several values, which values.schema.json cannot express. Each ends the rendering with one
line that names the values and what is allowed. Every rule has a value set in ci/fail.
*/}}

{{/* Bytes of a whole Kubernetes quantity such as 640Mi; the schema admits no other form. */}}
{{- define "app.quantityBytes" -}}
{{- $quantity := kindIs "string" . | ternary . (int64 . | toString) -}}
{{- $number := regexFind "^[0-9]+" $quantity -}}
{{- $units := dict "k" 1000 "M" 1000000 "G" 1000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 -}}
{{- mul (int64 $number) (get $units (trimPrefix $number $quantity) | default 1 | int64) -}}
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
{{- if and (gt $most 1) (not .Values.acceptIndependentBrokers) -}}
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
{{- if and .Values.service.loadBalancerSourceRanges (ne .Values.service.type "LoadBalancer") -}}
{{- fail (printf "service.loadBalancerSourceRanges needs service.type=LoadBalancer, not %s" .Values.service.type) -}}
{{- end -}}

{{- if .Values.consumer.enabled -}}
{{- $places := mul (int64 .Values.replicaCount) (int64 $s.MAX_CONSUMERS) -}}
{{- if gt (int64 .Values.consumer.replicaCount) $places -}}
{{- fail (printf "consumer.replicaCount is %d: settings.MAX_CONSUMERS admits %d to a broker, %d in all" (int64 .Values.consumer.replicaCount) (int64 $s.MAX_CONSUMERS) $places) -}}
{{- end -}}
{{- end -}}
{{- end -}}
