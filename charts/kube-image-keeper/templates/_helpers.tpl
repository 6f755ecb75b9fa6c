{{/* Names are fixed: there is one kuik in a cluster, and its parts know one another by name. */}}

{{/* Labels of an object: (list $ "component"), or (list $ "component" more). Whoever gives values names none of ours twice:
     the API server would refuse that, or worse, take one of them. */}}
{{- define "kuik.labels" -}}
{{- $root := index . 0 -}}
{{- $ours := include "kuik.selector" (list $root (index . 1)) | fromYaml -}}
{{- $_ := set $ours "app.kubernetes.io/part-of" "kube-image-keeper" -}}
{{- $_ := set $ours "app.kubernetes.io/version" $root.Chart.AppVersion -}}
{{- $_ := set $ours "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- $_ := set $ours "helm.sh/chart" (printf "%s-%s" $root.Chart.Name ($root.Chart.Version | replace "+" "_")) -}}
{{- $more := dict -}}
{{- if gt (len .) 2 -}}
{{- $more = index . 2 | default dict -}}
{{- end -}}
{{ merge $ours $more ($root.Values.labels | default dict) | toYaml }}
{{- end }}

{{/* The labels by which the pods of a component are known: (list $ "component") */}}
{{- define "kuik.selector" -}}
app.kubernetes.io/name: kube-image-keeper
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* What stands over each pod: labels and annotations. kuik never caches its own images. (list $ "component") */}}
{{- define "kuik.podMetadata" -}}
{{- $root := index . 0 -}}
labels:
  {{- $ours := set (include "kuik.selector" . | fromYaml) "kuik.dev/cache" "false" }}
  {{- merge $ours ($root.Values.labels | default dict) | toYaml | nindent 2 }}
{{- with $root.Values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "kuik.image" -}}
{{- with .Values.image -}}
{{ with .registry }}{{ . }}/{{ end }}{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{/* The security context of every container that needs nothing of its node. */}}
{{- define "kuik.confined" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
readOnlyRootFilesystem: true
{{- end }}

{{/* Where pods are placed: (list $ .Values.component "component"). Replicas keep away from one another. */}}
{{- define "kuik.placement" -}}
{{- $values := index . 1 -}}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
nodeSelector:
  {{- merge (dict "kubernetes.io/os" "linux") ($values.nodeSelector | default dict) | toYaml | nindent 2 }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- include "kuik.selector" (list (index . 0) (index . 2)) | nindent 14 }}
{{- end }}

{{/* A variable from one of the Secrets that kuik makes once in the cluster: (list "KUIK_TOKEN" "kuik-token" "token").
     A container waits until the Secret is there. */}}
{{- define "kuik.secret" -}}
- name: {{ index . 0 }}
  valueFrom: {secretKeyRef: {name: {{ index . 1 }}, key: {{ index . 2 }}}}
{{- end }}

{{/* The StatefulSet of writers: another name for another kind of storage, as what a volume holds is known by its name. */}}
{{- define "kuik.registry" -}}
kuik-registry{{ if ne .Values.registry.storage "Volume" }}-{{ .Values.registry.storage | lower }}{{ end }}
{{- end }}

{{- define "kuik.writers" -}}
{{ if eq .Values.registry.storage "Volume" }}{{ .Values.registry.replicas }}{{ else }}1{{ end }}
{{- end }}

{{/* The volumes' names, as keepers and hooks know them, with spaces between. */}}
{{- define "kuik.volumes" -}}
{{- $names := list -}}
{{- range $number := until (include "kuik.writers" . | int) -}}
{{- $names = append $names (printf "%s-%d" (include "kuik.registry" $) $number) -}}
{{- end -}}
{{ join " " $names }}
{{- end }}

{{/* URLs with spaces between: each replica has a Service, so that all ask the same one for the same thing. */}}
{{- define "kuik.writerURLs" -}}
{{- $urls := list -}}
{{- range $name := splitList " " (include "kuik.volumes" .) -}}
{{- $urls = append $urls (printf "http://%s.%s.svc:5001" $name $.Release.Namespace) -}}
{{- end -}}
{{ join " " $urls }}
{{- end }}

{{- define "kuik.readerURLs" -}}
{{- $urls := list -}}
{{- $set := ternary "kuik-registry" "kuik-registry-reader" (eq .Values.registry.storage "Volume") -}}
{{- range $number := until (int .Values.registry.replicas) -}}
{{- $urls = append $urls (printf "http://%s-%d.%s.svc:5000" $set $number $.Release.Namespace) -}}
{{- end -}}
{{ join " " $urls }}
{{- end }}

{{- define "kuik.shieldURLs" -}}
{{- $urls := list -}}
{{- range $number := until (int .Values.shield.replicas) -}}
{{- $urls = append $urls (printf "http://kuik-shield-%d.%s.svc:7440" $number $.Release.Namespace) -}}
{{- end -}}
{{ join " " $urls }}
{{- end }}

{{/* A replica's own Service, whose address outlives its pods: node proxies know it while the cluster's DNS is down. It
     leads to one that is not ready, too: callers find out by themselves who answers. (list $ "component" "pod" ports) */}}
{{- define "kuik.replica" -}}
{{- $root := index . 0 -}}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ index . 2 }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "kuik.labels" (list $root (index . 1)) | nindent 4 }}
spec:
  publishNotReadyAddresses: true
  selector:
    {{- include "kuik.selector" (list $root (index . 1)) | nindent 4 }}
    statefulset.kubernetes.io/pod-name: {{ index . 2 }}
  ports:
    {{- range $name, $port := index . 3 }}
    - {name: {{ $name }}, port: {{ $port }}, targetPort: {{ $name }}}
    {{- end }}
{{- end }}

{{/* How a pod that has the node's resolver finds what is in the cluster. */}}
{{- define "kuik.namesInside" -}}
- --cluster-domain={{ .Values.clusterDNS.domain }}
{{- range .Values.clusterDNS.addresses }}
- --cluster-dns={{ . }}
{{- end }}
{{- end }}

{{/* Whether containerd asks the node proxy by itself. */}}
{{- define "kuik.mirrors" -}}
{{ if and .Values.imageCache.create (eq (.Values.imageCache.spec.delivery | default "Webhook") "Mirror") }}yes{{ end }}
{{- end }}

{{/* The folders of a node that Mirror delivery writes to and reads from, as JSON. */}}
{{- define "kuik.mirrorFolders" -}}
{{- $config := dir .Values.mirror.containerdConfig -}}
{{- $folders := list $config -}}
{{- if and .Values.mirror.configPath (not (hasPrefix (printf "%s/" $config) .Values.mirror.configPath)) -}}
{{- $folders = append $folders .Values.mirror.configPath -}}
{{- end -}}
{{ $folders | toJson }}
{{- end }}

{{/* Writes what distribution reads at its start, with the tokens: (list $ "writer" | "reader" | "") */}}
{{- define "kuik.configure" -}}
{{- $root := index . 0 -}}
{{- $only := index . 1 -}}
- name: configure
  image: {{ include "kuik.image" $root }}
  imagePullPolicy: {{ $root.Values.image.pullPolicy }}
  args:
    - kuik.keeper.configure
    - --to=/etc/kuik/registry
    {{- with $only }}
    - --only={{ . }}
    {{- end }}
    {{- if eq $root.Values.registry.storage "S3" }}
    {{- with $root.Values.registry.s3 }}
    - --bucket={{ .bucket }}
    - --region={{ .region }}
    - --prefix={{ .prefix }}
    {{- with .endpoint }}
    - --endpoint={{ . }}
    {{- end }}
    {{- if not .redirect }}
    - --no-redirect
    {{- end }}
    {{- end }}
    {{- else }}
    - --folder=/var/lib/registry
    {{- end }}
    - --metrics=:5010
  env:
    {{- if ne $only "reader" }}
    {{- include "kuik.secret" (list "KUIK_REGISTRY_TOKEN" "kuik-registry" "writer") | nindent 4 }}
    {{- end }}
    {{- if ne $only "writer" }}
    {{- include "kuik.secret" (list "KUIK_READER_TOKEN" "kuik-registry" "reader") | nindent 4 }}
    {{- end }}
  resources:
    requests: {cpu: 10m, memory: 32Mi}
    limits: {memory: 128Mi}
  securityContext:
    {{- include "kuik.confined" $root | nindent 4 }}
  volumeMounts:
    - {name: config, mountPath: /etc/kuik/registry}
{{- end }}

{{/* Variables of distribution. Unless told so it looks for a collector of traces on its own host. */}}
{{- define "kuik.distributionVariables" -}}
- {name: OTEL_TRACES_EXPORTER, value: none}
{{- if eq .Values.registry.storage "S3" }}
{{- with .Values.registry.s3.existingSecret }}
{{ include "kuik.secret" (list "AWS_ACCESS_KEY_ID" . "AWS_ACCESS_KEY_ID") }}
{{ include "kuik.secret" (list "AWS_SECRET_ACCESS_KEY" . "AWS_SECRET_ACCESS_KEY") }}
{{- end }}
{{- end }}
{{- end }}

{{/* CNCF distribution, read-only. */}}
{{- define "kuik.reader" -}}
- name: reader
  image: {{ include "kuik.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: [registry, serve, /etc/kuik/registry/reader.yaml]
  env:
    {{- include "kuik.distributionVariables" . | nindent 4 }}
  ports:
    - {name: reader, containerPort: 5000}
    - {name: telemetry, containerPort: 5010}
  livenessProbe:
    httpGet: {path: /debug/health, port: telemetry}
    initialDelaySeconds: 20
    periodSeconds: 20
    timeoutSeconds: 5
    failureThreshold: 6
  readinessProbe:
    # It asks for credentials, which is an answer.
    tcpSocket: {port: reader}
    periodSeconds: 5
    timeoutSeconds: 3
  resources:
    {{- toYaml .Values.registry.readerResources | nindent 4 }}
  securityContext:
    {{- include "kuik.confined" . | nindent 4 }}
  volumeMounts:
    - {name: tmp, mountPath: /tmp}
    - {name: config, mountPath: /etc/kuik/registry, readOnly: true}
    {{- if ne .Values.registry.storage "S3" }}
    - {name: data, mountPath: /var/lib/registry, readOnly: true}
    {{- end }}
{{- end }}
