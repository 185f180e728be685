{{/* What the app label says: the official connector's name unless told otherwise, which OpenFaaS's tools know. */}}
{{- define "natsconnector.name" -}}
{{- default "nats-connector" .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* What objects are called. */}}
{{- define "natsconnector.fullname" -}}
{{- $name := include "natsconnector.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if or (contains $name .Release.Name) (contains .Chart.Name .Release.Name) -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that tell the pods of this release from all others; they may never change. */}}
{{- define "natsconnector.selector" -}}
app: {{ include "natsconnector.name" . }}
component: nats-connector
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "natsconnector.podLabels" -}}
{{ include "natsconnector.selector" . }}
app.kubernetes.io/name: {{ include "natsconnector.name" . }}
app.kubernetes.io/component: nats-connector
app.kubernetes.io/part-of: openfaas
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{- define "natsconnector.labels" -}}
{{ include "natsconnector.podLabels" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The port that probes and Prometheus ask; empty where settings.admin is none. */}}
{{- define "natsconnector.adminPort" -}}
{{- $admin := .Values.settings.admin | default "" -}}
{{- if regexMatch "^tcp:[0-9]+$" $admin -}}
{{- trimPrefix "tcp:" $admin -}}
{{- else if ne $admin "none" -}}
{{- fail (printf "settings.admin is %q: probes come from outside of the pod, give tcp:PORT, or none to do without" $admin) -}}
{{- end -}}
{{- end -}}

{{/* The port that results are posted to; empty where settings.callbackListen is not set. */}}
{{- define "natsconnector.callbackPort" -}}
{{- $listen := .Values.settings.callbackListen | default "none" -}}
{{- if regexMatch "^tcp:[0-9]+$" $listen -}}
{{- if not (or .Values.secrets.callbackKeyFile .Values.settings.callbackKeyFile) -}}
{{- fail "settings.callbackListen needs secrets.callbackKeyFile, the keys of the callback URLs" -}}
{{- end -}}
{{- trimPrefix "tcp:" $listen -}}
{{- else if ne $listen "none" -}}
{{- fail (printf "settings.callbackListen is %q: results come from outside of the pod, give tcp:PORT" $listen) -}}
{{- end -}}
{{- end -}}

{{/* The service that the queue-worker posts results to. */}}
{{- define "natsconnector.callbacksName" -}}
{{- printf "%s-callbacks" (include "natsconnector.fullname" . | trunc 53 | trimSuffix "-") -}}
{{- end -}}

{{/* A value as a variable has it. Numbers from files are floats, which would be written 1e+06. */}}
{{- define "natsconnector.text" -}}
{{- if kindIs "slice" . -}}
{{- $items := list -}}
{{- range . }}{{ $items = append $items (include "natsconnector.text" .) }}{{ end -}}
{{- join "," $items -}}
{{- else if kindIs "float64" . -}}
{{- int64 . -}}
{{- else -}}
{{- toString . -}}
{{- end -}}
{{- end -}}

{{/*
The settings that are given: for each its row of files/settings.json, with the secret it comes from or else its text, and the
variable it goes to. The official chart's name of a setting counts before our own. Results come to our service unless told
otherwise.
*/}}
{{- define "natsconnector.given" -}}
{{- $given := list -}}
{{- $port := include "natsconnector.callbackPort" . -}}
{{- range .Files.Get "files/settings.json" | fromJsonArray -}}
{{- $secret := get $.Values.secrets .name -}}
{{- if and (eq .kind "folder") (eq (toString $.Values.basic_auth) "false") }}{{ $secret = "" }}{{ end -}}
{{- if $secret -}}
{{- $given = append $given (merge (dict "secret" $secret) .) -}}
{{- else if and .official (hasKey $.Values .official) -}}
{{- $given = append $given (merge (dict "variable" .official "text" (include "natsconnector.text" (get $.Values .official))) .) -}}
{{- else if hasKey $.Values.settings .name -}}
{{- $given = append $given (merge (dict "text" (include "natsconnector.text" (get $.Values.settings .name))) .) -}}
{{- else if and $port (eq .name "callbackAddress") -}}
{{- $address := printf "http://%s.%s:%s" (include "natsconnector.callbacksName" $) $.Release.Namespace $port -}}
{{- $given = append $given (merge (dict "text" $address) .) -}}
{{- end -}}
{{- end -}}
{{- toJson $given -}}
{{- end -}}
