{{/*
Names are fixed, because values of the jupyterhub chart refer to them and cannot be templated: one release per
namespace. Only cluster-wide objects carry the namespace in their name. Every helper takes the root context.
*/}}

{{- define "multimap.labels" -}}
app.kubernetes.io/name: multimap
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
{{- end }}

{{/* What holds for a value that has no default, said once. */}}
{{- define "multimap.require" -}}
{{- if not .Values.domain }}{{ fail "domain must be the name under which people reach the hub, found nothing; give --set domain=lab.example.org" }}{{ end }}
{{- if not .Values.project }}{{ fail "project must be the Google Cloud project, found nothing; give --set project=my-project" }}{{ end }}
{{- if not .Values.bucket }}{{ fail "bucket must be the bucket of the studies, found nothing; give --set bucket=my-bucket" }}{{ end }}
{{- if eq .Values.compute.namespace .Release.Namespace }}{{ fail (printf "compute.namespace must not be the namespace of the hub, found %q for both: whoever may start clusters could read the hub's secrets" .Release.Namespace) }}{{ end }}
{{- range .Values.teams }}
{{- if and $.Values.viewer.enabled (or (hasPrefix .prefix $.Values.viewer.prefix) (hasPrefix $.Values.viewer.prefix .prefix)) }}{{ fail (printf "viewer.prefix must lie outside of every team's prefix, found %q and %q of team %s: who writes there decides who may read what" $.Values.viewer.prefix .prefix .name) }}{{ end }}
{{- if and (eq .name "viewer") (not .googleServiceAccount) }}{{ fail "a team must not be called viewer: mm-viewer is the account of the viewer service" }}{{ end }}
{{- end }}
{{- $kopf := index .Values "dask-kubernetes-operator" "kopfArgs" }}
{{- if and (index .Values "dask-kubernetes-operator" "enabled") (not (has (printf "--namespace=%s" .Values.compute.namespace) $kopf)) }}
{{- fail (printf "the Dask operator must watch compute.namespace %q, found kopfArgs %s; set dask-kubernetes-operator.kopfArgs={--standalone,--namespace=%s}" .Values.compute.namespace ($kopf | toJson) .Values.compute.namespace) }}
{{- end }}
{{- end }}

{{/* Where the images are; with a slash at the end, so that a prefix cannot be continued into another name. */}}
{{- define "multimap.registry" -}}
{{ .Values.images.registry | default (printf "%s-docker.pkg.dev/%s/multimap" .Values.region .Values.project) | trimSuffix "/" }}/
{{- end }}

{{/* include "multimap.image" (list $ "lab"): by digest, or by the version of this chart while no digest is known. */}}
{{- define "multimap.image" -}}
{{- $root := index . 0 }}{{ $name := index . 1 }}
{{- $digest := (index $root.Values.images $name).digest }}
{{- include "multimap.registry" $root }}{{ $name }}{{ if $digest }}@{{ $digest }}{{ else }}:{{ $root.Chart.AppVersion }}{{ end }}
{{- end }}

{{/* "true" when every image that runs in the compute namespace is named by digest; empty otherwise. */}}
{{- define "multimap.pinned" -}}
{{- $open := list }}
{{- range $name := list "lab" "worker" "train" "tools" }}{{ if not (index $.Values.images $name).digest }}{{ $open = append $open $name }}{{ end }}{{ end }}
{{- if not $open }}true{{ end }}
{{- end }}

{{- define "multimap.team" -}}
multimap-team-{{ . }}
{{- end }}

{{/* Email of the Google service account of a team: include "multimap.gsa" (list $ $team) */}}
{{- define "multimap.gsa" -}}
{{- $root := index . 0 }}{{ $team := index . 1 }}
{{- $team.googleServiceAccount | default (printf "mm-%s@%s.iam.gserviceaccount.com" $team.name $root.Values.project) }}
{{- end }}

{{/* The account of the viewer service. */}}
{{- define "multimap.viewerAccount" -}}
{{- .Values.viewer.googleServiceAccount | default (printf "mm-viewer@%s.iam.gserviceaccount.com" .Values.project) }}
{{- end }}

{{/* Roots of the teams as JSON, as multimap_kernel/share/places.py reads them. */}}
{{- define "multimap.places" -}}
{{- $places := dict }}
{{- range .Values.teams }}{{ $_ := set $places .name (dict "url" (printf "gs://%s/%s" $.Values.bucket (trimSuffix "/" .prefix)) "groups" .groups) }}{{ end }}
{{- $places | toJson }}
{{- end }}

{{/* What Pod Security "restricted" asks of a container. */}}
{{- define "multimap.restricted" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
{{- end }}

{{- define "multimap.restrictedPod" -}}
runAsNonRoot: true
runAsUser: 1000
fsGroup: 100
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* Names, the bucket and the identity: what pods that handle data may reach outside their namespace. */}}
{{- define "multimap.egress" -}}
- to:
    - namespaceSelector:
        matchLabels: {kubernetes.io/metadata.name: kube-system}
      podSelector:
        matchLabels: {k8s-app: kube-dns}
    - ipBlock: {cidr: 169.254.20.10/32}  # the name cache of the node, where there is one
  ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except: [10.0.0.0/8, 100.64.0.0/10, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16]
  ports:
    - {protocol: TCP, port: 443}
- to:
    - ipBlock: {cidr: 169.254.169.254/32}  # the metadata server, with Dataplane V2
  ports:
    - {protocol: TCP, port: 80}
- to:
    - ipBlock: {cidr: 169.254.169.252/32}  # the same without Dataplane V2
  ports:
    - {protocol: TCP, port: 988}
{{- end }}

{{/* CEL: what the token of the caller says of the pod that it was given to, "name" or "uid"; empty for other callers. */}}
{{- define "multimap.tokenPod" -}}
has(request.userInfo.extra) && 'authentication.kubernetes.io/pod-{{ . }}' in request.userInfo.extra ? request.userInfo.extra['authentication.kubernetes.io/pod-{{ . }}'][0] : ''
{{- end }}

{{/* CEL: whose an object is; empty if it is nobody's. */}}
{{- define "multimap.labelOf" -}}
has({{ . }}.metadata.labels) && 'hub.jupyter.org/username' in {{ . }}.metadata.labels ? {{ . }}.metadata.labels['hub.jupyter.org/username'] : ''
{{- end }}

{{/* How a Google resource outlives the chart: include "multimap.googleAnnotations" (list $ "data"), or "key", or "none" */}}
{{- define "multimap.googleAnnotations" -}}
{{- $root := index . 0 }}{{ $what := index . 1 -}}
cnrm.cloud.google.com/project-id: {{ $root.Values.project }}
{{- if or (eq $what "key") (and (eq $what "data") (eq $root.Values.gcp.configConnector.deletionPolicy "abandon")) }}
cnrm.cloud.google.com/deletion-policy: abandon
helm.sh/resource-policy: keep
{{- end }}
{{- end }}

{{/* Which objects a team may touch: include "multimap.condition" (list $bucket $team). Listing asks for the bucket, with the
prefix that is listed as an attribute. */}}
{{- define "multimap.condition" -}}
{{- $bucket := index . 0 }}{{ $team := index . 1 -}}
resource.name.startsWith("projects/_/buckets/{{ $bucket }}/objects/{{ $team.prefix }}") || api.getAttribute("storage.googleapis.com/objectListPrefix", "").startsWith("{{ $team.prefix }}")
{{- end }}

{{- define "multimap.keyName" -}}
projects/{{ .Values.project }}/locations/{{ .Values.region }}/keyRings/multimap/cryptoKeys/multimap
{{- end }}

{{/* The commands that make what templates/gcp makes. */}}
{{- define "multimap.gcloud" }}
{{- $connector := .Values.gcp.configConnector }}{{ $lifecycle := $connector.lifecycle }}
{{- $raw := list }}{{ $runs := list }}
{{- range .Values.teams }}{{ $raw = append $raw (printf "%sraw/" .prefix) }}{{ $runs = append $runs (printf "%sruns/" .prefix) }}{{ end }}
{{- $key := include "multimap.keyName" . }}
{{- $nodes := printf "multimap-nodes@%s.iam.gserviceaccount.com" .Values.project }}
  export CLOUDSDK_CORE_PROJECT={{ .Values.project }}
  NUMBER=$(gcloud projects describe {{ .Values.project }} --format 'value(projectNumber)')
  # the key, and who may use it
  gcloud kms keyrings create multimap --location {{ .Values.region }}
  gcloud kms keys create multimap --keyring multimap --location {{ .Values.region }} --purpose encryption --rotation-period {{ $connector.keyRotationDays }}d --next-rotation-time $(date -u -d '+{{ $connector.keyRotationDays }} days' +%Y-%m-%dT%H:%M:%SZ) --destroy-scheduled-duration 30d
  for AGENT in gs-project-accounts compute-system; do gcloud kms keys add-iam-policy-binding multimap --keyring multimap --location {{ .Values.region }} --role roles/cloudkms.cryptoKeyEncrypterDecrypter --member serviceAccount:service-$NUMBER@$AGENT.iam.gserviceaccount.com; done
  # the bucket of the studies, and the one for scratch
  cat > lifecycle.json <<'EOF'
  {{ dict "rule" (list
      (dict "action" (dict "type" "SetStorageClass" "storageClass" "ARCHIVE") "condition" (dict "age" $lifecycle.archiveRawDays "matchesPrefix" $raw))
      (dict "action" (dict "type" "Delete") "condition" (dict "age" $lifecycle.runsDays "matchesPrefix" $runs))
      (dict "action" (dict "type" "Delete") "condition" (dict "daysSinceNoncurrentTime" $lifecycle.oldVersionsDays "isLive" false))
      (dict "action" (dict "type" "AbortIncompleteMultipartUpload") "condition" (dict "age" 7))) | toJson }}
EOF
  gcloud storage buckets create gs://{{ .Values.bucket }} --location {{ .Values.region }} --uniform-bucket-level-access --public-access-prevention --default-encryption-key {{ $key }}
  gcloud storage buckets update gs://{{ .Values.bucket }} --versioning --lifecycle-file lifecycle.json
  echo '{"rule": [{"action": {"type": "Delete"}, "condition": {"age": {{ $lifecycle.scratchDays }}}}]}' > scratch.json
  gcloud storage buckets create gs://{{ .Values.bucket }}-scratch --location {{ .Values.region }} --uniform-bucket-level-access --public-access-prevention --default-encryption-key {{ $key }} --soft-delete-duration 0
  gcloud storage buckets update gs://{{ .Values.bucket }}-scratch --lifecycle-file scratch.json
  # one identity a team, good for its own prefix
  {{- range $team := .Values.teams }}
  {{- $gsa := include "multimap.gsa" (list $ $team) }}
  {{- if not $team.googleServiceAccount }}
  gcloud iam service-accounts create mm-{{ $team.name }} --display-name 'multimap, team {{ $team.name }}'
  {{- end }}
  for NAMESPACE in {{ $.Release.Namespace }} {{ $.Values.compute.namespace }}; do gcloud iam service-accounts add-iam-policy-binding {{ $gsa }} --role roles/iam.workloadIdentityUser --member "serviceAccount:{{ $.Values.project }}.svc.id.goog[$NAMESPACE/{{ include "multimap.team" $team.name }}]"; done
  {{- range $bucket := list $.Values.bucket (printf "%s-scratch" $.Values.bucket) }}
  gcloud storage buckets add-iam-policy-binding gs://{{ $bucket }} --role roles/storage.objectUser --member serviceAccount:{{ $gsa }} --condition '^;^title=team-{{ $team.name }};expression={{ include "multimap.condition" (list $bucket $team) }}'
  {{- end }}
  {{- end }}
  {{- if .Values.viewer.enabled }}
  # the viewer service reads what teams share, and writes who may read it
  {{- $viewer := include "multimap.viewerAccount" . }}
  {{- if not .Values.viewer.googleServiceAccount }}
  gcloud iam service-accounts create mm-viewer --display-name 'multimap, viewer service'
  {{- end }}
  gcloud iam service-accounts add-iam-policy-binding {{ $viewer }} --role roles/iam.workloadIdentityUser --member "serviceAccount:{{ .Values.project }}.svc.id.goog[{{ .Release.Namespace }}/multimap-viewer]"
  gcloud storage buckets add-iam-policy-binding gs://{{ .Values.bucket }} --role roles/storage.objectUser --member serviceAccount:{{ $viewer }} --condition '^;^title=viewer;expression={{ include "multimap.condition" (list .Values.bucket .Values.viewer) }}'
  {{- range $team := .Values.teams }}
  gcloud storage buckets add-iam-policy-binding gs://{{ $.Values.bucket }} --role roles/storage.objectViewer --member serviceAccount:{{ $viewer }} --condition '^;^title=viewer-{{ $team.name }};expression={{ include "multimap.condition" (list $.Values.bucket $team) }}'
  {{- end }}
  {{- end }}
  # the nodes
  gcloud iam service-accounts create multimap-nodes --display-name 'multimap, nodes'
  for ROLE in container.defaultNodeServiceAccount artifactregistry.reader; do gcloud projects add-iam-policy-binding {{ .Values.project }} --role roles/$ROLE --member serviceAccount:{{ $nodes }} --condition None; done
  {{- range $name, $pool := $connector.nodePools }}
  gcloud container node-pools create multimap-{{ $name }} --cluster {{ $connector.cluster }} --region {{ $.Values.region }} --machine-type {{ $pool.machineType }} --enable-autoscaling --total-min-nodes {{ $pool.min }} --total-max-nodes {{ $pool.max }} --num-nodes 0 --workload-metadata GKE_METADATA --enable-image-streaming --shielded-secure-boot --shielded-integrity-monitoring --service-account {{ $nodes }} --boot-disk-kms-key {{ $key }} --labels application=multimap,pool={{ $name }}
    {{- if eq $name "workers" }} --spot --location-policy ANY --node-taints k8s.dask.org_dedicated=worker:NoSchedule
    {{- else }} --location-policy BALANCED --node-labels hub.jupyter.org/node-purpose=user{{ end }}
    {{- if eq $name "gpus" }} --accelerator type={{ $pool.accelerator }},count=1,gpu-driver-version=default{{ end }}
  {{- end }}
  # the address of the hub
  gcloud compute addresses create {{ .Values.ingress.staticAddress }} --global
{{ end }}
