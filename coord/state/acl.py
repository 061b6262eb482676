"""Access control lists: who may do what to a znode.

Owns the rules of ZooKeeper's built-in schemes (world, auth, digest, ip, x509) and the sharing of equal
lists. Knows no tree and no request.

- An `AccessList` is immutable and shared: equal lists are one object while anything refers to them, so a
  million znodes of one ACL cost a pointer each and an ACL nobody uses any more is gone.
- "auth" never gets into a list: `AccessLists.fix` writes the caller's own identities in its place.
- The identity ``Id("super", "")`` may do everything; the connection grants it (super user, skipACL).

Synopsis::

    lists = AccessLists()
    acl = lists.fix((ACL(Perms.ALL, Id("auth", "")),), identities)  # raises Refused(INVALID_ACL)
    acl.allows(Perms.READ, identities)  # bool
    digest_id("ann", "secret")  # "ann:K1f…="
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from weakref import WeakValueDictionary
from zlib import crc32

from coord.errors import ErrorCode
from coord.state.refused import Refused
from coord.wire.ensemble import Identities
from coord.wire.jute import Reader
from coord.wire.records import ACL, Id, Perms

ANYONE = Id("world", "anyone")
SUPER = Id("super", "")
OPEN_UNSAFE: tuple[ACL, ...] = (ACL(Perms.ALL, ANYONE),)
READ_UNSAFE: tuple[ACL, ...] = (ACL(Perms.READ, ANYONE),)

_RAW_LISTS_MAX = 1024
_RAW_LIST_BYTES_MAX = 1024
"""Encoded ACLs remembered with what they mean, none larger; most clients only ever send one or two."""

_ADDRESS_CHARACTERS_MAX = 64
"""More than any address with its bits; a client's text beyond it is not worth remembering as invalid."""


def digest_id(user: str, password: str) -> str:
    """The id of the digest scheme: ``user:base64(sha1("user:password"))``."""
    digest = hashlib.sha1(f"{user}:{password}".encode()).digest()
    return f"{user}:{base64.b64encode(digest).decode()}"


class AccessList:
    """The ACL of a znode: `entries` as clients see them, and what makes the check cheap."""

    __slots__ = ("__weakref__", "anyone", "crc", "entries")

    def __init__(self, entries: tuple[ACL, ...]) -> None:
        self.entries = entries
        self.anyone = 0
        """permission bits that everybody has"""
        self.crc = crc32(b"".join([entry.encode() for entry in entries]))
        """part of the tree's digest"""
        for perms, who in entries:
            if who == ANYONE:
                self.anyone |= perms

    def __repr__(self) -> str:
        return f"AccessList({self.entries!r})"

    def allows(self, perms: int, identities: Identities) -> bool:
        """Whether a caller with `identities` has at least one of `perms`."""
        if self.anyone & perms:
            return True
        if any(scheme == "super" for scheme, _ in identities):
            return True
        return any(
            granted & perms and any(_matches(who, caller) for caller in identities)
            for granted, who in self.entries
        )

    def redacted(self) -> list[ACL]:
        """The entries for somebody without ADMIN: the hashes of digest ids are hidden."""
        return [
            ACL(perms, Id(who.scheme, who.id.partition(":")[0] + ":x")) if who.scheme == "digest" else entry
            for entry in self.entries
            for perms, who in (entry,)
        ]


class AccessLists:
    """Makes access lists: one object for equal entries, and the rules a client's list must meet."""

    def __init__(self) -> None:
        self._shared: WeakValueDictionary[tuple[ACL, ...], AccessList] = WeakValueDictionary()
        self._raw: dict[bytes, AccessList] = {}

    def intern(self, entries: tuple[ACL, ...]) -> AccessList:
        """The one list of these entries, which are taken as they are."""
        found = self._shared.get(entries)
        if found is None:
            found = self._shared[entries] = AccessList(entries)
        return found

    def fix(self, entries: Sequence[ACL], identities: Identities) -> AccessList:
        """The list a client's `entries` stand for: duplicates collapse, "auth" becomes the caller.

        Raises `Refused(INVALID_ACL)` for an empty list, an unknown scheme, an id its scheme does not
        allow, and "auth" without an authenticated identity.
        """
        fixed: dict[ACL, None] = {}
        for entry in dict.fromkeys(entries):
            if entry.id.scheme == "auth":
                fixed.update(dict.fromkeys(_own_entries(entry.perms, identities)))
            elif _is_valid(entry.id):
                fixed[entry] = None
            else:
                raise Refused(ErrorCode.INVALID_ACL)
        if not fixed:
            raise Refused(ErrorCode.INVALID_ACL)
        return self.intern(tuple(fixed))

    def from_wire(self, raw: bytes, identities: Identities) -> AccessList:
        """`fix` for an encoded vector of ACLs; raises `ProtocolError` too."""
        found = self._raw.get(raw)
        if found is not None:
            return found
        reader = Reader(raw)
        entries = reader.read_vector(lambda: ACL.read(reader))
        reader.finish()
        fixed = self.fix(entries, identities)
        of_all_callers = not any(entry.id.scheme == "auth" for entry in entries)
        if of_all_callers and len(raw) <= _RAW_LIST_BYTES_MAX:
            if len(self._raw) >= _RAW_LISTS_MAX:
                self._raw.clear()
            self._raw[raw] = fixed
        return fixed


def _own_entries(perms: int, identities: Identities) -> list[ACL]:
    """What "auth" stands for; an address is no proof of who somebody is, and "super" is no id of an ACL."""
    own = [ACL(perms, identity) for identity in identities if identity.scheme in ("digest", "x509")]
    if not own:
        raise Refused(ErrorCode.INVALID_ACL)
    return own


def _is_valid(who: Id) -> bool:
    check = _VALID_ID.get(who.scheme)
    return check is not None and check(who.id)


def _matches(who: Id, caller: Id) -> bool:
    """Whether an ACL's `who` means this caller's identity."""
    if who.scheme != caller.scheme:
        return False
    return _address_in(caller.id, who.id) if who.scheme == "ip" else who.id == caller.id


# -- the ip scheme: an address, or an address and the number of leading bits that count -----------------


def _address_in(address: str, expression: str) -> bool:
    network, client = _network(expression), _address(address)
    return network is not None and client is not None and client in network


@lru_cache(maxsize=4096)
def _network(expression: str) -> IPv4Network | IPv6Network | None:
    address, slash, bits = expression.partition("/")
    if slash and not (bits.isascii() and bits.isdigit()):
        return None
    try:
        return ip_network((address, int(bits)) if slash else address, strict=False)
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A dual-stack socket shows an IPv4 client so; an ACL names it by its own address.
    return getattr(address, "ipv4_mapped", None) or address


_VALID_ID: dict[str, Callable[[str], bool]] = {
    "world": lambda name: name == "anyone",
    "digest": lambda name: name.count(":") == 1 and not name.endswith(":"),
    "ip": lambda name: len(name) <= _ADDRESS_CHARACTERS_MAX and _network(name) is not None,
    "x509": lambda name: name != "",
}
