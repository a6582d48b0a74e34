{{/*
How a broker's pod ends. Kubernetes runs preStop, then sends SIGTERM, and kills what still runs when
the grace period, which counts from before preStop, is over. The broker then serves on for
DRAIN_DELAY_MS and delivers what it holds for at most DRAIN_TIMEOUT_MS. All of it follows from the
settings; nothing here is a second copy.
*/}}

{{/* Milliseconds in whole seconds, rounded up. */}}
{{- define "app.seconds" -}}
{{- div (add (int64 .) 999) 1000 -}}
{{- end -}}

{{/* Seconds that preStop sleeps: what DRAIN_DELAY_MS leaves of endpointRemovalSeconds. */}}
{{- define "app.preStopSeconds" -}}
{{- max 0 (sub (int64 .Values.endpointRemovalSeconds) (include "app.seconds" .Values.settings.DRAIN_DELAY_MS | int64)) -}}
{{- end -}}

{{/* preStop, the drain, and five seconds to stop in. */}}
{{- define "app.gracePeriodSeconds" -}}
{{- $drain := add (int64 .Values.settings.DRAIN_DELAY_MS) (int64 .Values.settings.DRAIN_TIMEOUT_MS) -}}
{{- add (include "app.preStopSeconds" . | int64) (include "app.seconds" $drain | int64) 5 -}}
{{- end -}}
