"""The commands on whole subtrees: ls -R, deleteall, setAcl -R.

Owns their order and what they do about znodes that come and go meanwhile. How much goes into a request is
`walk`'s business.

Rules that hold here: none of them is atomic, and each tells how far it has come; what others have deleted
meanwhile is as good as done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from coord import BadArguments, Client, ConnectionLost, CoordError, NoNode, NotEmpty, RequestFailed, Stat
from coord.cli.jobs import Output
from coord.cli.results import Found, Path
from coord.cli.walk import PORTION, Pipeline, Walk, for_each, portions
from coord.wire.records import ACL


async def list_all(zk: Client, out: Output, path: str) -> None:
    """Prints every path from here down, parents first."""
    walk = Walk(zk, path, "ls")
    with out.progress("listing") as advance:
        while paths := await walk.next():
            for each in paths:
                out(Path(each))
            advance(len(paths))
            await out.room()


async def delete_all(zk: Client, out: Output, path: str, *, batch: int = PORTION) -> None:
    """Deletes the znode and everything below it, `batch` znodes in one transaction.

    What others create there meanwhile is deleted, too. Repeated by itself if the connection breaks. Raises
    `NoNode` if there is no such znode, `NoAuth`, `BadArguments` for the root.
    """
    if path == "/" and not zk.chroot:
        raise BadArguments("the root cannot be deleted", path=path, operation="deleteall")
    everything = await _find_all(zk, out, path, "deleteall")
    with out.progress("deleting", len(everything)) as advance:
        async with Pipeline() as pipeline:
            for portion in portions(reversed(everything), size=len, count=batch):
                await pipeline.do(partial(delete_these, zk, portion, advance))


async def _find_all(zk: Client, out: Output, path: str, operation: str) -> list[str]:
    walk = Walk(zk, path, operation)
    everything: list[str] = []
    with out.progress("finding") as advance:
        while paths := await walk.next():
            everything += paths
            advance(len(paths))
    return everything


async def delete_these(zk: Client, paths: Sequence[str], advance: Callable[[int], object]) -> None:
    """In one transaction, or, where others were there meanwhile, one by one."""
    if len(paths) > 1:
        transaction = zk.transaction()
        for path in paths:
            transaction.delete(path)
        try:
            await transaction.commit()
        except (RequestFailed, ConnectionLost):
            pass
        else:
            advance(len(paths))
            return
    for path in paths:
        await _delete_one(zk, path)
        advance(1)


async def _delete_one(zk: Client, path: str) -> None:
    """With what others have created below it."""
    while True:
        try:
            await zk.delete(path)
            return
        except NoNode:
            return
        except ConnectionLost:
            continue  # done or not, it can be done again
        except NotEmpty:
            pass
        try:
            for name in await zk.children(path):
                await _delete_one(zk, f"{path.rstrip('/')}/{name}")
        except NoNode:
            return


async def set_all_acls(
    zk: Client, out: Output, path: str, acl: list[ACL], *, version: int = -1, with_stat: bool = False
) -> None:
    """Sets the ACL of every znode from here down; those that vanish meanwhile are passed over.

    All are found before the first is set: an ACL may take away the right to look further.
    """
    everything = await _find_all(zk, out, path, "setAcl")

    async def one(each: str) -> Stat | None:
        try:
            return await zk.set_acl(each, acl, version=version)
        except NoNode:
            return None

    with out.progress("setting ACLs", len(everything)) as advance:
        for paths in portions(everything, size=len):
            for each, result in zip(paths, await for_each(paths, one), strict=True):
                if isinstance(result, CoordError):
                    raise result
                advance(1)
                if with_stat and result is not None:
                    out(Found(each, result))
            await out.room()
