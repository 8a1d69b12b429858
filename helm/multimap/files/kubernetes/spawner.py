"""Servers on Kubernetes: what people choose from, whose rights they get, and who may reach their clusters.

Run by JupyterHub's chart with ``c`` at hand. The settings come from the values of the chart and are read at every
spawn, so that new profiles and images need no restart of the hub.
"""

import json
import os
from pathlib import Path

from kubernetes_asyncio.client import V1CSIVolumeSource, V1EnvVar, V1Volume, V1VolumeMount
from kubernetes_asyncio.client.rest import ApiException
from kubespawner.clients import shared_client

PLACE = Path(os.environ.get("MULTIMAP_SETTINGS", "/etc/multimap/settings"))
PASSWORD = Path("/etc/multimap/secret/admin-password")
USERNAME = "hub.jupyter.org/username"
GIB = 2**30
SHARED = "shared-files"  # under the prefix of a team
GPU_TAINT = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
DASHBOARD = "{JUPYTERHUB_SERVICE_PREFIX}proxy/{host}:{port}/status"


def settings():
    """What the chart says now."""
    return json.loads((PLACE / "settings.json").read_text())


def team_of(spawner, teams):
    """The first team that has a group of this person, else the first for everybody; an error if there is none."""
    groups = {group.name for group in spawner.user.groups}
    own = [team for team in teams if groups & set(team["groups"])] or [team for team in teams if not team["groups"]]
    if not own:
        raise PermissionError(
            f"{spawner.user.name} must be in a group of a team, found {', '.join(sorted(groups)) or 'no group'}; "
            "an administrator can add you to one"
        )
    return own[0]


def profiles(spawner):
    """What this person may choose, as KubeSpawner takes it."""
    now = settings()
    team = team_of(spawner, now["teams"])["name"]
    offered = [profile for profile in now["profiles"] if not profile["teams"] or team in profile["teams"]]
    return [
        {
            "slug": profile["name"],
            "display_name": profile["title"],
            "description": profile["description"],
            "default": profile is offered[0],
            "kubespawner_override": _override(profile, now["images"]),
        }
        for profile in offered
    ]


def _override(profile, images):
    memory = int(profile["memoryGiB"] * GIB)
    chosen = {
        "image": images[profile["image"]],
        "cpu_guarantee": profile["cpu"] / 2,  # labs wait for their people most of the time
        "mem_guarantee": memory,
        "mem_limit": memory,
        "environment": {
            "MULTIMAP_COLLABORATIVE": str(int(profile["collaborative"])),
            "MULTIMAP_PROFILE": profile["name"],
            "MULTIMAP_GPU": profile["gpu"],
        },
    }
    if profile["gpu"]:
        chosen["extra_resource_limits"] = {"nvidia.com/gpu": "1"}
        chosen["node_selector"] = {"cloud.google.com/gke-accelerator": profile["gpu"]}
        chosen["tolerations"] = [*c.KubeSpawner.get("tolerations", []), GPU_TAINT]
    return chosen


async def prepare(spawner, pod):
    """Give the pod the account of its team and what a notebook must know, and open its clusters to it alone."""
    now = settings()
    team = team_of(spawner, now["teams"])
    pod.spec.service_account_name = f"multimap-team-{team['name']}"
    pod.spec.automount_service_account_token = True  # a notebook asks the API server for clusters
    known = {
        "DASK_KUBERNETES__NAMESPACE": now["compute"],
        "DASK_KUBERNETES__NAME": "mm-{MULTIMAP_POD_USER}",
        "DASK_DISTRIBUTED__DASHBOARD__LINK": DASHBOARD,
        "MULTIMAP_STORE": f"gs://{now['bucket']}/{team['prefix'].rstrip('/')}",
        "MULTIMAP_CLUSTERS": str(now["clustersPerPerson"]),
        "MULTIMAP_TEAM": team["name"],
        "MULTIMAP_PRICES": json.dumps(now["prices"]),
    }
    if now["sharedFolder"]["enabled"]:
        show_shared(pod, now["bucket"], f"{team['prefix']}{SHARED}")
    pod.spec.containers[0].env.extend(V1EnvVar(name=name, value=value) for name, value in known.items())
    await _open_clusters(pod.metadata.labels[USERNAME], now)
    return pod


def show_shared(pod, bucket, folder):
    """Mount a folder of the bucket in the home, for reading: nobody's kernel can spoil what all see."""
    options = f"implicit-dirs,only-dir={folder},uid=1000,gid=100,file-mode=444,dir-mode=555"
    source = V1CSIVolumeSource(
        driver="gcsfuse.csi.storage.gke.io",
        read_only=True,
        volume_attributes={"bucketName": bucket, "mountOptions": options},
    )
    pod.metadata.annotations = {**(pod.metadata.annotations or {}), "gke-gcsfuse/volumes": "true"}
    pod.spec.volumes = [*(pod.spec.volumes or []), V1Volume(name="multimap-shared", csi=source)]
    mount = V1VolumeMount(name="multimap-shared", mount_path="/home/jovyan/shared", read_only=True)
    pod.spec.containers[0].volume_mounts = [*(pod.spec.containers[0].volume_mounts or []), mount]


async def _open_clusters(user, now):
    api, wanted = shared_client("NetworkingV1Api"), policy(user, now)
    try:
        await api.create_namespaced_network_policy(now["compute"], wanted)
    except ApiException as fault:
        if fault.status != 409:
            raise
        # there since an earlier server, maybe of an earlier chart
        await api.replace_namespaced_network_policy(wanted["metadata"]["name"], now["compute"], wanted)


def policy(user, now):
    """Who may talk to the clusters of a person: their own parts, and the notebooks of that person.

    Workers talk to each other and to their scheduler on ports of Dask's choice; notebooks to the scheduler alone.
    """
    own = {"podSelector": {"matchLabels": {USERNAME: user}}}
    hub = {"matchLabels": {"kubernetes.io/metadata.name": now["namespace"]}}
    notebook = {"matchLabels": {USERNAME: user, "component": "singleuser-server"}}
    ports = [{"protocol": "TCP", "port": port} for port in (8786, 8787)]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": f"multimap-user-{user}", "labels": {"app.kubernetes.io/name": "multimap"}},
        "spec": {
            **own,
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"from": [own]},
                {"from": [{"namespaceSelector": hub, "podSelector": notebook}], "ports": ports},
            ],
            "egress": [{"to": [own]}],
        },
    }


c.KubeSpawner.profile_list = profiles
c.KubeSpawner.modify_pod_hook = prepare
if c.JupyterHub.get("authenticator_class") == "shared-password":
    c.SharedPasswordAuthenticator.admin_password = PASSWORD.read_text()
