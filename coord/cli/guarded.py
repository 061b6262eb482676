"""Parents whose ACL would keep out whoever creates their children, while an import creates them.

Owns the ACLs that such znodes have meanwhile, and the credentials in them.

Rule that holds here: nobody else gets a right by it. The entry that is added to an ACL is that of a password
which only this import knows, and it goes when all children are there, or when the import ends early.

Synopsis::

    async with Guarded(zk, {"/app/locked"}) as guarded:
        await zk.create(znode.path, znode.data, acl=guarded.acl(znode))
        guarded.wrote([znode])
        ...
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Collection, Iterable, Sequence
from types import TracebackType
from typing import Final, Self

import trio

from coord import ACL, Client, CoordError, Id, NoNode, Perms
from coord.cli.transfer import Znode
from coord.cli.walk import for_each

USER: Final = "coord-import"
LAST_SECONDS: Final = 5.0
"""So long an import that ends early may take to set the ACLs right."""


class Guarded:
    def __init__(self, zk: Client, paths: Collection[str]) -> None:
        self._zk = zk
        self._paths = paths
        self._password = secrets.token_hex(16)
        self._final: dict[str, Sequence[ACL]] = {}

    def acl(self, znode: Znode) -> Sequence[ACL]:
        """What the znode's ACL is to be for now."""
        if znode.path not in self._paths:
            return znode.acl
        credentials = f"{USER}:{self._password}".encode()
        digest = base64.b64encode(hashlib.sha1(credentials).digest()).decode()
        return [*znode.acl, ACL(Perms.ALL, Id("digest", f"{USER}:{digest}"))]

    def wrote(self, znodes: Iterable[Znode]) -> None:
        """They have the ACLs that `acl` gave."""
        self._final.update((znode.path, znode.acl) for znode in znodes if znode.path in self._paths)

    async def __aenter__(self) -> Self:
        if self._paths:
            await self._zk.add_auth("digest", f"{USER}:{self._password}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self._settle()
            return
        with trio.move_on_after(LAST_SECONDS, shield=True):
            try:
                await self._settle()
            except CoordError:
                pass

    async def _settle(self) -> None:
        """Gives all of them the ACLs that they are to have."""

        async def one(path: str) -> None:
            try:
                await self._zk.set_acl(path, self._final[path])
            except NoNode:
                pass

        for result in await for_each(list(self._final), one):
            if isinstance(result, CoordError):
                raise result
