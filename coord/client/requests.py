"""From a caller's arguments to a request's record: flags, ACLs and paths, checked before anything is sent.

Owns nothing; pure. Must not know: sessions, connections.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from coord import limits
from coord.client.paths import Chroot, check_path
from coord.errors import BadArguments
from coord.wire.records import ACL, CreateMode, CreateRequest, CreateTTLRequest, Id, Op, Perms

OPEN_ACL: Final = (ACL(Perms.ALL, Id("world", "anyone")),)
"""Everybody may do everything."""
CREATOR_ACL: Final = (ACL(Perms.ALL, Id("auth", "")),)
"""Who creates may do everything, by any of its credentials (see `Client.add_auth`); nobody else anything."""
READ_ACL: Final = (ACL(Perms.READ, Id("world", "anyone")),)
"""Everybody may read, nobody may write."""


_INT_BOUND: Final = 2**31
"""The protocol has 32 bits for a version, and for the bits of permissions."""


class CreateOptions(NamedTuple):
    """What create takes beside path and data; `acl` None is `OPEN_ACL`, `ttl` is in seconds."""

    acl: Sequence[ACL] | None = None
    ephemeral: bool = False
    sequential: bool = False
    container: bool = False
    ttl: float | None = None


def named(chroot: Chroot, path: str, operation: str) -> str:
    """The server's name for `path`; raises `BadArguments` if no znode can have it."""
    check_path(path, operation)
    return chroot.inside(path)


def check_version(version: int, path: str, operation: str) -> None:
    """Raises `BadArguments` if no znode can have this version."""
    if not -_INT_BOUND <= version < _INT_BOUND:
        raise BadArguments(f"version={version!r} is out of range", path=path, operation=operation)


def check_acl(acl: Sequence[ACL], path: str, operation: str) -> None:
    """Raises `BadArguments` for permissions that cannot be sent; what they mean is the server's business."""
    for one in acl:
        if not -_INT_BOUND <= one.perms < _INT_BOUND:
            why = f"the permissions {one.perms!r} are out of range"
            raise BadArguments(why, path=path, operation=operation)


def create_request(
    chroot: Chroot, path: str, data: bytes | None, options: CreateOptions, *, with_stat: bool = False
) -> tuple[Op, CreateRequest | CreateTTLRequest]:
    """The opcode and record of a create; raises `BadArguments` for options that exclude each other."""
    check_path(path, "create", sequential=options.sequential)
    _check_options(path, options)
    acl = list(OPEN_ACL if options.acl is None else options.acl)
    check_acl(acl, path, "create")
    full = chroot.inside(path)
    if options.ttl is not None:
        mode = CreateMode.PERSISTENT_WITH_TTL + options.sequential
        return Op.CREATE_TTL, CreateTTLRequest(full, data, acl, mode, round(options.ttl * 1000))
    if options.container:
        return Op.CREATE_CONTAINER, CreateRequest(full, data, acl, CreateMode.CONTAINER)
    flags = CreateMode.EPHEMERAL * options.ephemeral + CreateMode.PERSISTENT_SEQUENTIAL * options.sequential
    return (Op.CREATE2 if with_stat else Op.CREATE), CreateRequest(full, data, acl, flags)


def _check_options(path: str, options: CreateOptions) -> None:
    ttl = options.ttl
    faults = (
        (options.container and (options.ephemeral or options.sequential), "a container can be nothing else"),
        (ttl is not None and (options.ephemeral or options.container), "a ttl is for persistent znodes"),
        (ttl is not None and not 0 < round(ttl * 1000) <= limits.TTL_MS_MAX, f"ttl={ttl} is out of range"),
    )
    for wrong, why in faults:
        if wrong:
            raise BadArguments(why, path=path, operation="create")
