"""Commands about links: make one, list them, withdraw one."""

from __future__ import annotations

from argparse import Namespace

from rich.table import Column, Table

from multimap_kernel.batch.records import RunRecord
from multimap_kernel.console.screen import OUT
from multimap_kernel.io.store import Store
from multimap_kernel.pipeline import open_maps
from multimap_kernel.schema import InputError
from multimap_kernel.share.links import list_links, revoke_link, share
from multimap_kernel.share.opened import find_runs


def link(store: Store, options: Namespace) -> int:
    """Print a link to the maps of a session or the group, or to an executed notebook."""
    given = {"with_": options.with_, "expires": options.expires, "title": options.title}
    if options.run:
        made = share(_run(store, options.run), store=store.root, **given)
    else:
        opened = open_maps(store, options.session, options.recipe_name)
        told = {**given, "title": options.title or opened.label}
        made = share(opened.maps, anatomy=opened.anatomy, store=store.root, **told)
    OUT.print(f"[bold]{made.url}[/bold]", soft_wrap=True)
    people = ", ".join([*(f"group {one}" for one in made.groups), *made.users]) or "nobody else"
    OUT.print(f"for you and {people}, until {made.expires[:10]}; withdraw it: multimap link --revoke {made.identifier}")
    return 0


def links(store: str, revoke: str) -> int:
    """List the links of this user, or withdraw one."""
    if revoke:
        ended = revoke_link(revoke, store=store)
        OUT.print(f"{ended.identifier} ({ended.title}) is withdrawn; within 10 s nobody can read through it")
        return 0
    table = Table("link", "what", "with", "until", Column("address", overflow="fold"))
    for one in list_links(store=store):
        until = f"withdrawn {one.revoked[:10]}" if one.revoked else one.expires[:10]
        people = ", ".join([*(f"group:{name}" for name in one.groups), *(f"user:{name}" for name in one.users)])
        table.add_row(one.identifier, one.title, people, until, one.url, style="dim" if one.revoked else "")
    OUT.print(table if table.row_count else "no link was made here")
    return 0


def _run(store: Store, name: str) -> RunRecord:
    """The one session of a run that is meant."""
    found = [record for record in find_runs(name, [store.root]) if record.folder.startswith(store.url("runs"))]
    if len(found) != 1:
        have = ", ".join(f"{one.run_id}/{one.session}" for one in found) or f"none in study {store.study!r}"
        raise InputError(f"a link is to one executed notebook, found {have}; name one of them")
    return found[0]
