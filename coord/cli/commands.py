"""What each command on one znode does: an async function of a client and its parsed arguments.

Owns the commands and what they print. Must not know how arguments were parsed nor where the text goes, so
that a command line and a shell share them.

Rules that hold here: what a command finds goes to `out` as a value of `results`; what goes wrong is raised as
the client raises it; names, arguments and output are zkCli's.

Synopsis::

    await commands.get(zk, out, "/znode_test", with_stat=True)
"""

from __future__ import annotations

from coord import OPEN_ACL, Client, NoNode
from coord.cli.content import Content
from coord.cli.jobs import Output
from coord.cli.results import (
    Children,
    Count,
    Data,
    Found,
    Identities,
    Path,
    Paths,
    Permissions,
    Said,
)
from coord.wire.records import ACL


async def create(
    zk: Client,
    out: Output,
    path: str,
    content: Content,
    acl: list[ACL] | None = None,
    *,
    sequential: bool = False,
    ephemeral: bool = False,
    container: bool = False,
    ttl_ms: int | None = None,
) -> None:
    """Prints the path that was created, number included."""
    created = await zk.create(
        path,
        await content.read(),
        acl=acl or OPEN_ACL,
        sequential=sequential,
        ephemeral=ephemeral,
        container=container,
        ttl=None if ttl_ms is None else ttl_ms / 1000,
    )
    out(Path(created))


async def get(
    zk: Client,
    out: Output,
    path: str,
    *,
    with_stat: bool = False,
    raw: bool = False,
    with_watch: bool = False,
) -> None:
    """`raw`: the data and nothing else, not even the line's end."""
    watch = zk.watch() if with_watch else None
    data, stat = await zk.get(path, watch=watch)
    out(Data(path, data, stat if with_stat else None, raw))
    if watch:
        await out.armed(watch, path)


async def set_data(
    zk: Client, out: Output, path: str, content: Content, *, version: int = -1, with_stat: bool = False
) -> None:
    stat = await zk.set(path, await content.read(), version=version)
    if with_stat:
        out(Found(path, stat))


async def ls(
    zk: Client, out: Output, path: str, *, with_stat: bool = False, with_watch: bool = False
) -> None:
    """The children's names in one line."""
    watch = zk.watch() if with_watch else None
    children, stat = await zk.children_with_stat(path, watch=watch)
    out(Children(path, sorted(children), stat if with_stat else None))
    if watch:
        await out.armed(watch, path, children=True)


async def stat(zk: Client, out: Output, path: str, *, with_watch: bool = False) -> None:
    """`with_watch`: a missing znode is no error, it is watched until there is one."""
    watch = zk.watch() if with_watch else None
    found = await zk.exists(path, watch=watch)
    if found is None and watch is None:
        raise NoNode(path=path, operation="stat")
    out(Said(f"{path} does not exist") if found is None else Found(path, found))
    if watch:
        await out.armed(watch, path)


async def delete(zk: Client, out: Output, path: str, *, version: int = -1) -> None:
    await zk.delete(path, version=version)


async def check(zk: Client, out: Output, path: str, *, version: int = -1) -> None:
    """Only within a transaction; alone, it changes nothing either."""
    transaction = zk.transaction()
    transaction.check(path, version)
    await transaction.commit()


async def get_acl(zk: Client, out: Output, path: str, *, with_stat: bool = False) -> None:
    acl, stat = await zk.get_acl(path)
    out(Permissions(path, acl, stat if with_stat else None))


async def set_acl(
    zk: Client, out: Output, path: str, acl: list[ACL], *, version: int = -1, with_stat: bool = False
) -> None:
    stat = await zk.set_acl(path, acl, version=version)
    if with_stat:
        out(Found(path, stat))


async def sync(zk: Client, out: Output, path: str) -> None:
    await zk.sync(path)
    out(Said("Sync is OK"))


async def who_am_i(zk: Client, out: Output) -> None:
    out(Identities(await zk.who_am_i()))


async def add_auth(zk: Client, out: Output, scheme: str, credentials: bytes) -> None:
    await zk.add_auth(scheme, credentials)


async def get_ephemerals(zk: Client, out: Output, path: str = "/") -> None:
    out(Paths(path, sorted(await zk.ephemerals(path))))


async def get_all_children_number(zk: Client, out: Output, path: str) -> None:
    out(Count(path, await zk.count_descendants(path)))
