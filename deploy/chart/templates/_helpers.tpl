{{- define "secrets-manager.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimAll "-" -}}
{{- end -}}

{{/* The name of most objects: that of the release, with the chart's where it lacks that. Leaves room for suffixes. A Service has no dots. */}}
{{- define "secrets-manager.fullname" -}}
{{- $name := include "secrets-manager.name" . -}}
{{- $full := .Release.Name -}}
{{- if .Values.fullnameOverride -}}
{{- $full = .Values.fullnameOverride -}}
{{- else if not (contains $name .Release.Name) -}}
{{- $full = printf "%s-%s" .Release.Name $name -}}
{{- end -}}
{{- $full | replace "." "-" | trunc 40 | trimAll "-" -}}
{{- end -}}

{{/* What finds the pods of this release. It can't change in an upgrade. */}}
{{- define "secrets-manager.selector" -}}
app.kubernetes.io/name: {{ include "secrets-manager.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "secrets-manager.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "secrets-manager.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "secrets-manager.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "secrets-manager.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "secrets-manager.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Whether the AppRole's credentials are wanted: "true" or nothing. */}}
{{- define "secrets-manager.appRole" -}}
{{- if and (eq .Values.backend "vault") (eq .Values.vault.authMethod "approle") -}}true{{- end -}}
{{- end -}}

{{/* The port in vault.address; nothing for a Unix socket. */}}
{{- define "secrets-manager.vaultPort" -}}
{{- $url := urlParse .Values.vault.address -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- if ne $url.scheme "unix" -}}
{{- default (ternary "80" "443" (eq $url.scheme "http")) $port -}}
{{- end -}}
{{- end -}}

{{/* What the controller may do where Secrets are watched. */}}
{{- define "secrets-manager.rules" -}}
- apiGroups: [secrets-manager.tuenti.io]
  resources: [secretdefinitions]
  verbs: [get, list, watch, patch]
- apiGroups: [secrets-manager.tuenti.io]
  resources: [secretdefinitions/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- if .Values.rbac.rolloutRestart }}
- apiGroups: [apps]
  resources: [deployments, statefulsets, daemonsets]
  verbs: [get, patch]
{{- end }}
{{- end -}}

{{- define "secrets-manager.subjects" -}}
- kind: ServiceAccount
  name: {{ include "secrets-manager.serviceAccount" . | quote }}
  namespace: {{ .Release.Namespace | quote }}
{{- end -}}
