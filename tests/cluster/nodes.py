"""The rest of a Kubernetes for tests: deployments become pods, and each pod is a process with an address of its own.

Pods listen on a /16 of loopback, so that each has the ports that its manifest names, and are found by their service's
name (`dns/sitecustomize.py`). A container that ends is started again in its pod; a pod that is deleted runs its preStop
hook, gets SIGTERM, and after its grace period SIGKILL.
"""

import asyncio
import copy
import json
import os
import re
import signal
import subprocess
import sys
import uuid
from contextlib import suppress
from pathlib import Path

BIN = Path(sys.executable).parent
DNS = Path(__file__).parent / "dns"
POD = ("v1", "pods")
NAMESPACE = "compute"
NETWORK = 64 + os.getpid() % 128
"""Another one for each process of tests."""


class Nodes:
    """Runs on the loop of an `Api` until it is left.

    Parameters
    ----------
    api
        Whose objects are made true.
    folder
        For the names of services, and the logs of pods.
    """

    def __init__(self, api, folder):
        self.api, self.folder = api, Path(folder)
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        self.ending, self.count = {}, 0
        self.names = self.folder / "names.json"
        self.names.write_text("{}")

    def __enter__(self):
        self._turning = asyncio.run_coroutine_threadsafe(self._turn(), self.api.loop)
        return self

    def __exit__(self, *_):
        self._turning.cancel()
        asyncio.run_coroutine_threadsafe(self._end_all(), self.api.loop).result(30)

    @property
    def environment(self):
        """What a process needs to take part."""
        path = os.pathsep.join(filter(None, (str(DNS), os.environ.get("PYTHONPATH"))))
        return {
            **os.environ,
            "CLUSTER_NAMES": str(self.names),
            "PYTHONPATH": path,
            "PATH": f"{BIN}:{os.environ['PATH']}",
        }

    async def _turn(self):
        while True:
            self.api.collect()
            for deployment in self.api.of("deployments"):
                self._fill(deployment)
            pods = {pod["metadata"]["name"]: pod for pod in self.api.of("pods") if pod["spec"].get("containers")}
            for name, pod in pods.items():
                if name in self.processes and self.processes[name].returncode is not None:
                    self._clear(name)
                if name not in self.processes:
                    await self._start(pod)
            for name in set(self.processes) - set(pods) - set(self.ending):
                self.ending[name] = asyncio.ensure_future(self._end(name))
            self._publish_names(pods)
            await asyncio.sleep(0.1)

    def _fill(self, deployment):
        """One pod for each replica; a pod that was deleted is replaced."""
        metadata, spec = deployment["metadata"], deployment["spec"]
        own = [pod for pod in self.api.of("pods") if owned(pod, metadata["uid"])]
        for _ in range(spec.get("replicas", 1) - len(own)):
            template = copy.deepcopy(spec["template"])
            name = f"{metadata['name']}-{uuid.uuid4().hex[:5]}"
            owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": metadata["name"], "uid": metadata["uid"]}
            template["metadata"] |= {"name": name, "namespace": metadata["namespace"], "ownerReferences": [owner]}
            pod = {"kind": "Pod", "apiVersion": "v1", **template, "status": {"phase": "Pending"}}
            self.api.add((*POD, metadata["namespace"], name), pod)

    async def _start(self, pod):
        name, (container,) = pod["metadata"]["name"], pod["spec"]["containers"]
        status = pod["status"]
        if "podIP" not in status:
            self.count += 1
            status["podIP"] = f"127.{NETWORK}.{self.count // 250}.{self.count % 250 + 1}"
        log = self.api.logs[name] = self.folder / f"{name}.log"
        with log.open("ab") as stream:
            self.processes[name] = await asyncio.create_subprocess_exec(
                *self._command(container, status["podIP"]), env=self._env(container), stdout=stream, stderr=stream,
                start_new_session=True,
            )  # fmt: skip
        ready = [
            {"type": kind, "status": "True"} for kind in ("Ready", "ContainersReady", "PodScheduled", "Initialized")
        ]
        again = status.get("containerStatuses", [{"restartCount": -1}])[0]["restartCount"] + 1
        state = {"name": container["name"], "ready": True, "restartCount": again, "state": {"running": {}}}
        status |= {"phase": "Running", "conditions": ready, "containerStatuses": [state]}
        self.api.tell("MODIFIED", (*POD, pod["metadata"]["namespace"], name))

    def _env(self, container):
        return {**self.environment, **{one["name"]: one.get("value", "") for one in container.get("env", [])}}

    def _command(self, container, address):
        """The container's own command, in the pod's own network."""
        environment = self._env(container)
        command = [*container.get("command", []), *container.get("args", [])]
        command = [re.sub(r"\$\((\w+)\)", lambda found: environment[found[1]], part) for part in command]
        command = [{"0.0.0.0": address, "8788": f"{address}:8788"}.get(part, part) for part in command]
        own = ["--dashboard-address", f"{address}:8787"] if "scheduler" in command else ["--host", address]
        return [BIN / command[0], *command[1:], *own]

    async def _end(self, name):
        """The way of a pod out: hook, SIGTERM, grace, SIGKILL."""
        process, pod = self.processes[name], self.last[name]
        (container,) = pod["spec"]["containers"]
        grace = pod["spec"].get("terminationGracePeriodSeconds", 30)
        hook = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")
        try:
            async with asyncio.timeout(grace):
                if hook:
                    with self.api.logs[name].open("ab") as log:
                        command = [BIN / hook[0], *hook[1:]]
                        prestop = await asyncio.create_subprocess_exec(
                            *command, env=self._env(container), stdout=log, stderr=log
                        )
                    await prestop.wait()
                if process.returncode is None:
                    process.terminate()
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        self._clear(name)
        del self.ending[name]

    def _clear(self, name):
        """A container has no process left when its first one ended."""
        with suppress(ProcessLookupError):
            os.killpg(self.processes.pop(name).pid, signal.SIGKILL)

    def _publish_names(self, pods):
        self.last = {**getattr(self, "last", {}), **pods}
        # names stay, as a resolver remembers them: without one the operator sleeps for minutes
        names = json.loads(self.names.read_text())
        for service in self.api.of("services"):
            for pod in pods.values():
                if service["spec"]["selector"].items() <= pod["metadata"].get("labels", {}).items():
                    metadata = service["metadata"]
                    names[f"{metadata['name']}.{metadata['namespace']}"] = pod["status"]["podIP"]
        fresh = self.names.with_suffix(".new")
        fresh.write_text(json.dumps(names))
        fresh.replace(self.names)

    async def _end_all(self):
        for name, process in list(self.processes.items()):
            self._clear(name)
            await process.wait()


class Operator:
    """The Dask operator's own controller, as the process that its image starts."""

    def __init__(self, kubeconfig, nodes):
        self.log = nodes.folder / "operator.log"
        self.environment = {**nodes.environment, "KUBECONFIG": str(kubeconfig)}

    def __enter__(self):
        command = [
            str(BIN / "kopf"),
            "run",
            "-m",
            "dask_kubernetes.operator.controller",
            "--standalone",
            f"--namespace={NAMESPACE}",
        ]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def owned(value, uid):
    return any(owner["uid"] == uid for owner in value["metadata"].get("ownerReferences", []))
