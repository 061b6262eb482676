"""What each command does: an async function of a client and its parsed arguments.

Owns the commands and what they print. Must not know how arguments were parsed nor where the text goes, so
that a command line and a shell share them.

Rules that hold here: a command prints by `out`, one call a line (znode data as bytes, untouched); what goes
wrong is raised as the client raises it; names, arguments and output are zkCli's.

Synopsis::

    await commands.get(zk, print, "/znode_test", with_stat=True)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from coord import OPEN_ACL, Client, NoNode
from coord.cli.texts import format_acl, format_list, format_stat
from coord.wire.records import ACL, Stat

Out = Callable[[str | bytes], object]


async def create(
    zk: Client,
    out: Out,
    path: str,
    data: bytes | None = None,
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
        data,
        acl=acl or OPEN_ACL,
        sequential=sequential,
        ephemeral=ephemeral,
        container=container,
        ttl=None if ttl_ms is None else ttl_ms / 1000,
    )
    out(created)


async def get(zk: Client, out: Out, path: str, *, with_stat: bool = False) -> None:
    data, stat = await zk.get(path)
    out(data)
    _also(out, stat, with_stat)


async def set_data(
    zk: Client, out: Out, path: str, data: bytes, *, version: int = -1, with_stat: bool = False
) -> None:
    _also(out, await zk.set(path, data, version=version), with_stat)


async def ls(zk: Client, out: Out, path: str, *, recursive: bool = False, with_stat: bool = False) -> None:
    """The children's names in one line; `recursive`: the path of every znode from here down, one a line."""
    if recursive:
        async for each in _subtree(zk, path):
            out(each)
        return
    children, stat = await zk.children_with_stat(path)
    out(format_list(sorted(children)))
    _also(out, stat, with_stat)


async def stat(zk: Client, out: Out, path: str) -> None:
    found = await zk.exists(path)
    if found is None:
        raise NoNode(path=path, operation="stat")
    out(format_stat(found))


async def delete(zk: Client, out: Out, path: str, *, version: int = -1) -> None:
    await zk.delete(path, version=version)


async def delete_all(zk: Client, out: Out, path: str) -> None:
    await zk.delete_recursive(path)


async def get_acl(zk: Client, out: Out, path: str, *, with_stat: bool = False) -> None:
    acl, stat = await zk.get_acl(path)
    out(format_acl(acl))
    _also(out, stat, with_stat)


async def set_acl(
    zk: Client,
    out: Out,
    path: str,
    acl: list[ACL],
    *,
    version: int = -1,
    recursive: bool = False,
    with_stat: bool = False,
) -> None:
    """`recursive`: on every znode from here down; those that vanish meanwhile are passed over."""
    if not recursive:
        _also(out, await zk.set_acl(path, acl, version=version), with_stat)
        return
    async for each in _subtree(zk, path):
        try:
            _also(out, await zk.set_acl(each, acl, version=version), with_stat)
        except NoNode:
            if each == path:
                raise


async def sync(zk: Client, out: Out, path: str) -> None:
    await zk.sync(path)
    out("Sync is OK")


async def who_am_i(zk: Client, out: Out) -> None:
    out("Auth scheme: User")
    for identity in await zk.who_am_i():
        out(f"{identity.scheme}: {identity.id}")


async def get_all_children_number(zk: Client, out: Out, path: str) -> None:
    out(str(await zk.count_descendants(path)))


def _also(out: Out, stat: Stat, wanted: bool) -> None:
    if wanted:
        out(format_stat(stat))


async def _subtree(zk: Client, path: str) -> AsyncIterator[str]:
    """`path` and everything below it, each parent before its children; fails only if `path` is missing."""
    waiting = [path]
    while waiting:
        each = waiting.pop()
        try:
            children = await zk.children(each)
        except NoNode:
            if each == path:
                raise
            continue
        yield each
        prefix = each.rstrip("/")
        waiting.extend(f"{prefix}/{child}" for child in sorted(children, reverse=True))
