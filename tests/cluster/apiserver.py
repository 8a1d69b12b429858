"""A small Kubernetes API server: what KubeCluster and the Dask operator ask of one, held in memory.

Discovery; create, read, list by selectors, watch, patch (merge and JSON), replace, delete; the subresources status,
scale and log; finalizers; deletion of what lost its owner; custom resources checked against their definitions (422).
Who asks is read off the bearer token; each verb on each resource is remembered. No admission, no quota, no scheduling;
roles are obeyed only for a caller that was given one.
"""

import asyncio
import copy
import json
import threading
import uuid
from datetime import UTC, datetime

import jsonschema
from aiohttp import web

BUILT_IN = {
    "v1": {
        "pods": "Pod", "services": "Service", "events": "Event", "namespaces": "Namespace", "nodes": "Node",
        "configmaps": "ConfigMap", "secrets": "Secret",
    },
    "apps/v1": {"deployments": "Deployment"},
    "events.k8s.io/v1": {"events": "Event"},
    "apiextensions.k8s.io/v1": {"customresourcedefinitions": "CustomResourceDefinition"},
}  # fmt: skip
CLUSTERWIDE = {"namespaces", "nodes", "customresourcedefinitions"}
VERBS = {"GET": "get", "POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}


class RefusedError(Exception):
    def __init__(self, code, reason, message):
        super().__init__(message)
        self.code, self.reason = code, reason


class Api:
    """The objects, keyed by (group/version, plural, namespace, name), and who watches them."""

    def __init__(self, definitions, namespaces, address=("127.0.0.1", 0)):
        self.kinds = {group: dict(kinds) for group, kinds in BUILT_IN.items()}
        self.schemas, self.objects, self.watchers, self.events = {}, {}, [], []
        self.calls: dict[str, set[tuple[str, str, str]]] = {}  # caller -> (verb, group, resource)
        self.roles: dict[str, set[tuple[str, str, str]]] = {}  # caller -> what it may do; absent: everything
        self.logs = {}  # name of a pod -> path
        self.version, self._ready = 0, threading.Event()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, args=(address,), daemon=True)
        for definition in definitions:
            self._define(definition)
        for name in namespaces:
            value = {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}}
            self.add(("v1", "namespaces", "", name), value)

    def _define(self, definition):
        spec = definition["spec"]
        for version in spec["versions"]:
            group = f"{spec['group']}/{version['name']}"
            self.kinds.setdefault(group, {})[spec["names"]["plural"]] = spec["names"]["kind"]
            self.schemas[group, spec["names"]["plural"]] = version["schema"]["openAPIV3Schema"]
        self.add(
            ("apiextensions.k8s.io/v1", "customresourcedefinitions", "", definition["metadata"]["name"]), definition
        )

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def _serve(self, address):
        asyncio.set_event_loop(self.loop)
        application = web.Application(client_max_size=2**24)
        application.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        self.loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, *address)
        self.loop.run_until_complete(site.start())
        self.url = "http://127.0.0.1:{1}".format(*runner.addresses[0])
        self._ready.set()
        self.loop.run_forever()
        self.loop.run_until_complete(runner.cleanup())
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))

    # what the control plane and the tests do directly; on the loop's own thread only

    def of(self, plural, namespace=None):
        return [one for key, one in list(self.objects.items()) if key[1] == plural and namespace in {None, key[2]}]

    def add(self, key, value):
        value["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": now(), "generation": 1}
        self.objects[key] = value
        self.tell("ADDED", key)
        return value

    def tell(self, kind, key):
        self.version += 1
        value = self.objects[key]
        value["metadata"]["resourceVersion"] = str(self.version)
        self.events.append((self.version, key, {"type": kind, "object": copy.deepcopy(value)}))
        for watcher in self.watchers:
            self._deliver(watcher, *self.events[-1][1:])

    def _deliver(self, watcher, key, event):
        queue, group, plural, namespace = watcher
        if (group, plural) == key[:2] and namespace in {"", key[2]}:
            queue.put_nowait(event)

    def remove(self, key):
        """Take an object away, or mark it while finalizers hold it; its dependents follow by `collect`."""
        metadata = self.objects[key]["metadata"]
        if metadata.get("finalizers"):
            metadata.setdefault("deletionTimestamp", now())
            self.tell("MODIFIED", key)
        else:
            self.tell("DELETED", key)
            del self.objects[key]

    def collect(self):
        """Delete what names owners and has none of them left in its namespace."""
        for key, value in list(self.objects.items()):
            owners = {owner["uid"] for owner in value["metadata"].get("ownerReferences", [])}
            there = {other["metadata"]["uid"] for place, other in self.objects.items() if place[2] == key[2]}
            if owners and not owners & there and key in self.objects and "deletionTimestamp" not in value["metadata"]:
                self.remove(key)

    # the protocol

    async def _answer(self, request):
        try:
            return await self._route(request)
        except RefusedError as refused:
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": refused.code}
            return web.json_response({**status, "reason": refused.reason, "message": str(refused)}, status=refused.code)

    async def _route(self, request):
        parts = [part for part in request.path.split("/") if part]
        if parts == ["version"]:
            return web.json_response({"major": "1", "minor": "33", "gitVersion": "v1.33.0"})
        if parts == ["api"]:
            return web.json_response({"kind": "APIVersions", "versions": ["v1"]})
        if parts == ["apis"]:
            groups = [self._group(group) for group in self.kinds if group != "v1"]
            return web.json_response({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        group, rest = ("v1", parts[2:]) if parts[0] == "api" else ("/".join(parts[1:3]), parts[3:])
        if group not in self.kinds:
            raise RefusedError(404, "NotFound", f"no group {group}")
        if not rest:
            return web.json_response(self._resources(group))
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        plural, name, part = (*rest, "", "")[:3]
        if plural not in self.kinds[group]:
            raise RefusedError(404, "NotFound", f"no resource {plural} in {group}")
        self._permit(request, group, "/".join(filter(None, (plural, part))), name)
        if name:
            return await self._one(request, (group, plural, namespace, name), part)
        return await self._many(request, group, plural, namespace)

    def _permit(self, request, group, resource, name):
        verb = VERBS[request.method]
        if verb == "get" and not name:
            verb = "watch" if request.query.get("watch") in {"1", "true"} else "list"
        caller = request.headers.get("Authorization", "Bearer nobody").split()[-1]
        call = (verb, group.rpartition("/")[0], resource)
        self.calls.setdefault(caller, set()).add(call)
        if caller in self.roles and call not in self.roles[caller]:
            raise RefusedError(403, "Forbidden", f"{caller} cannot {verb} {resource}")

    def _group(self, group):
        name, version = group.split("/")
        versions = {"groupVersion": group, "version": version}
        return {"name": name, "versions": [versions], "preferredVersion": versions}

    def _resources(self, group):
        listed = []
        for plural, kind in self.kinds[group].items():
            for name in (plural, f"{plural}/status", f"{plural}/scale"):
                verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
                entry = {"name": name, "singularName": kind.lower(), "kind": kind, "verbs": verbs}
                listed.append({**entry, "namespaced": plural not in CLUSTERWIDE})
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group, "resources": listed}

    async def _many(self, request, group, plural, namespace):
        kind = self.kinds[group][plural]
        if request.method == "POST":
            value = without_nulls(await request.json())
            metadata = value.setdefault("metadata", {})
            if "name" not in metadata:
                metadata["name"] = metadata.get("generateName", "") + uuid.uuid4().hex[:5]
            if plural not in CLUSTERWIDE:
                metadata.setdefault("namespace", namespace or "default")
            key = (group, plural, metadata.get("namespace", ""), metadata["name"])
            if key in self.objects:
                raise RefusedError(409, "AlreadyExists", f"{plural} {metadata['name']} exists")
            self._check(key, value)
            if plural == "services":
                value["status"] = {"loadBalancer": {}}
            return web.json_response(self.add(key, {"kind": kind, "apiVersion": group, **value}), status=201)
        if request.query.get("watch") in {"1", "true"}:
            return await self._watch(request, group, plural, namespace)
        items = [one for one in self.of(plural, namespace or None) if one["apiVersion"] == group]
        items = [one for one in items if selected(one, request.query)]
        listed = {"kind": f"{kind}List", "apiVersion": group, "metadata": {"resourceVersion": str(self.version)}}
        return web.json_response({**listed, "items": items})

    async def _watch(self, request, group, plural, namespace):
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        watcher = (asyncio.Queue(), group, plural, namespace)
        self.watchers.append(watcher)
        seen = int(request.query.get("resourceVersion") or 0)
        if not seen:
            for one in self.of(plural, namespace or None):
                watcher[0].put_nowait({"type": "ADDED", "object": one})
        for version, key, event in self.events:
            if 0 < seen < version:  # between the list and this watch
                self._deliver(watcher, key, event)
        try:
            async with asyncio.timeout(float(request.query.get("timeoutSeconds", 300))):
                while True:
                    event = await watcher[0].get()
                    if selected(event["object"], request.query):
                        await response.write(json.dumps(event).encode() + b"\n")
        except (TimeoutError, ConnectionError):
            return response
        finally:
            self.watchers.remove(watcher)

    async def _one(self, request, key, part):
        if key not in self.objects:
            raise RefusedError(404, "NotFound", f"{key[1]} {key[3]} not found")
        value = self.objects[key]
        if request.method == "GET":
            return web.Response(text=self.logs[key[3]].read_text()) if part == "log" else web.json_response(value)
        if request.method == "DELETE":
            self.remove(key)
            return web.json_response(value)
        asked = await request.json()
        if part == "scale":
            replicas = {"replicas": asked["spec"]["replicas"]}
            asked = {"spec": {"worker": replicas} if key[0] not in BUILT_IN else replicas}
        changed = copy.deepcopy(value)
        if "json-patch" in request.content_type:
            changed = json_patched(changed, asked)
        else:
            changed = merged(changed, asked) if request.method == "PATCH" or part else without_nulls(asked)
        self._check(key, changed)
        self.objects[key] = changed
        self.tell("MODIFIED", key)
        if "deletionTimestamp" in changed["metadata"] and not changed["metadata"].get("finalizers"):
            self.remove(key)
        return web.json_response(changed)

    def _check(self, key, value):
        if key[:2] in self.schemas:
            for fault in jsonschema.Draft7Validator(self.schemas[key[:2]]).iter_errors(value):
                where = ".".join(map(str, fault.absolute_path))
                raise RefusedError(422, "Invalid", f"{self.kinds[key[0]][key[1]]}: {where}: {fault.message}")


def now():
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def without_nulls(value):
    if isinstance(value, dict):
        return {name: without_nulls(one) for name, one in value.items() if one is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


def merged(value, patch):
    """RFC 7386."""
    for name, one in patch.items():
        if one is None:
            value.pop(name, None)
        else:
            value[name] = merged(value.get(name) or {}, one) if isinstance(one, dict) else one
    return value


def json_patched(value, operations):
    """The operations of RFC 6902 that are in use."""
    for operation in operations:
        *path, last = [step.replace("~1", "/").replace("~0", "~") for step in operation["path"].split("/")[1:]]
        place = value
        for step in path:
            place = place[int(step)] if isinstance(place, list) else place.setdefault(step, {})
        if isinstance(place, list):
            last = len(place) if last == "-" else int(last)
        if operation["op"] == "test":
            if place[last] != operation["value"]:
                raise RefusedError(422, "Invalid", f"{operation['path']} is {place[last]}")
        elif operation["op"] == "remove":
            del place[last]
        elif isinstance(place, list) and operation["op"] == "add":
            place.insert(last, operation["value"])
        else:
            place[last] = operation["value"]
    return value


def selected(value, query):
    labels = value["metadata"].get("labels", {})
    for term in filter(None, query.get("labelSelector", "").split(",")):
        name, equals, wanted = term.replace("==", "=").partition("=")
        if name not in labels or (equals and labels[name] != wanted):
            return False
    for term in filter(None, query.get("fieldSelector", "").split(",")):
        path, _, wanted = term.partition("=")
        found = value
        for step in path.split("."):
            found = found.get(step, {})
        if found != wanted:
            return False
    return True
