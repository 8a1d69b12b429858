"""Every hub of multimap: links behind the login, servers shared by their owners, runs opened in one's own Lab.

Run by JupyterHub with ``c`` at hand, by `make hub` on one machine and by the chart on Kubernetes. What differs between
sites is in ``settings.json``: ``teams`` (name, prefix, groups), ``root`` or ``bucket``, ``viewer`` (url; command and
environment too if the hub starts it itself).
"""

import json
import os
from pathlib import Path

SITE = Path(os.environ.get("MULTIMAP_SETTINGS", "/etc/multimap/settings"))
FRESH_S = 5
"""How long a server believes the hub. JupyterHub's own 300 s would let a guest stay for five minutes after a revoke."""


def site():
    """What the site says now."""
    return json.loads((SITE / "settings.json").read_text())


def places(groups=None):
    """Roots that links may name, with the groups whose they are; those of a member of some groups, or all."""
    now = site()
    root = now.get("root") or f"gs://{now['bucket']}"
    found = {
        team["name"]: {"url": f"{root.rstrip('/')}/{team['prefix'].strip('/')}", "groups": team["groups"]}
        for team in now["teams"]
    }
    if groups is None:
        return found
    own = [name for name, one in found.items() if groups & set(one["groups"])]
    everybody = [name for name, one in found.items() if not one["groups"]][:1]
    return {name: found[name] for name in own or everybody}


def introduce(spawner):
    """Tell a server which roots are its owner's, and where the viewer service is."""
    now = site()
    mine = places({group.name for group in spawner.user.groups})
    known = {"MULTIMAP_PLACES": json.dumps(mine)}
    if now.get("viewer"):
        known["MULTIMAP_LINKS"] = f"{now['viewer']['url'].rstrip('/')}/services/viewer/"
    if now.get("domain"):
        known["MULTIMAP_PUBLIC_URL"] = f"https://{now['domain']}"  # links are sent by mail
    if now.get("root"):  # on Kubernetes the team's account and store come from files/kubernetes
        known["MULTIMAP_STORE"] = next(iter(mine.values()), {"url": str(Path.home() / "multimap-store")})["url"]
    spawner.environment = {**spawner.environment, **known}


def listed(section, name):
    """A list of the configuration, whoever began it."""
    found = section.get(name, [])
    return list(found if isinstance(found, list) else found.get_value([]))


def extended_roles(roles):
    """Roles of the site, with what everybody may do on a hub of multimap."""
    user = next((role for role in roles if role["name"] == "user"), {"name": "user", "scopes": ["self"]})
    added = ["shares!user", "read:users:name", "read:groups:name", "access:services!service=viewer"]
    others = [role for role in roles if role["name"] != "user"]
    viewer = {"name": "viewer", "services": ["viewer"], "scopes": ["read:users:name", "read:users:groups"]}
    return [*others, {**user, "scopes": sorted({*user["scopes"], *added})}, viewer]


c.Spawner.pre_spawn_hook = introduce
c.JupyterHub.template_vars = {
    "extra_error_html": "Is this the server of somebody else? Its owner can let you in: Share, at the top of the Lab."
}
# what a kernel may do at the hub: make and withdraw links and shares of its owner, nothing else
c.Spawner.server_token_scopes = ["users:activity!user", "access:servers!server", "shares!server"]
c.Spawner.args = [
    *listed(c.Spawner, "args"),
    "--ServerApp.jpserver_extensions={'multimap_kernel.share.extension': True}",
    f"--HubOAuth.cache_max_age={FRESH_S}",
]
if site().get("viewer"):
    c.Spawner.server_token_scopes.append("access:services!service=viewer")
    viewer = site()["viewer"]
    variables = {"MULTIMAP_PLACES": json.dumps(places()), **viewer.get("environment", {})}
    started = {"command": viewer["command"], "environment": variables} if viewer.get("command") else {}
    service = {"name": "viewer", "url": viewer["url"], "oauth_no_confirm": True, "display": False, **started}
    known = listed(c.JupyterHub, "services")  # the chart of JupyterHub begins each of hub.services, with its token
    begun = next((one for one in known if one["name"] == "viewer"), {})
    c.JupyterHub.services = [*(one for one in known if one is not begun), {**begun, **service}]
    c.JupyterHub.load_roles = extended_roles(listed(c.JupyterHub, "load_roles"))
