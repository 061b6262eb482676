"""The members of a party: how their znodes are named, and how one view of them differs from the next.

Pure: names and views, no server. Registering and watching are `party`'s business.

Rules that hold here:

- A znode is a member's only if its name fits the layout and a session owns it: whatever else lies on the
  path (a leader's znode, a folder, leftovers) is no member.
- Two znodes are two members, whatever data they bear. One that was registered anew is another one than
  before, even under the same name.

Synopsis::

    name = znode_name(KAZOO_SHALLOW, uuid4().hex, b"host7", None)
    view = PartyView(members).after(earlier)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from coord import BadArguments, Stat
from recipes.line import CURATOR, KAZOO, KAZOO_SHALLOW, Layout

PARTY_LAYOUTS: Final = (KAZOO, KAZOO_SHALLOW, CURATOR)
"""kazoo's Party, whose data are the znode's; kazoo's ShallowParty, also the one in its SetPartitioner, whose
data are part of the znode's name; Curator's GroupMember, whose znode bears the member's own name."""

_KAZOO: Final = "__party__"
_SHALLOW: Final = re.compile(r"[0-9a-f]{32}-(?P<data>.*)\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Member:
    """One member: `name` is its znode's, `czxid` says when it was registered, in zxids."""

    name: str
    data: bytes
    session_id: int
    czxid: int


@dataclass(frozen=True)
class PartyView:
    """Who is a member at one moment, and what is different from the view before."""

    members: frozenset[Member]
    joined: frozenset[Member] = frozenset()
    left: frozenset[Member] = frozenset()

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)

    def after(self, earlier: PartyView) -> PartyView:
        """This view, with the differences from `earlier`. (A member whose data changed is still the same.)"""
        now = {(one.name, one.czxid): one for one in self.members}
        before = {(one.name, one.czxid): one for one in earlier.members}
        return replace(
            self,
            joined=frozenset(now[key] for key in now.keys() - before.keys()),
            left=frozenset(before[key] for key in before.keys() - now.keys()),
        )


def znode_name(layout: Layout, guid: str, data: bytes, name: str | None) -> str:
    """How a new member's znode is to be called; `guid` is 32 hexadecimal digits of its own.

    Raises `BadArguments` for what the layout cannot express.
    """
    if layout == CURATOR:
        if not name or "/" in name:
            raise BadArguments(f"a member in Curator's layout needs a name (without a slash), not {name!r}")
        return name
    if name is not None:
        raise BadArguments(f"only members in Curator's layout have names of their own, not {name!r}")
    if layout == KAZOO:
        return guid + _KAZOO
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "/"
    if "/" in text:
        raise BadArguments(f"{data!r} cannot be part of a znode's name: it is to be UTF-8, without a slash")
    return f"{guid}-{text}"


def could_be_member(layout: Layout, name: str) -> bool:
    """As far as its name says."""
    if layout == KAZOO:
        return _KAZOO in name
    return layout == CURATOR or _SHALLOW.match(name) is not None


def member_of(layout: Layout, name: str, data: bytes, stat: Stat) -> Member | None:
    """Who the znode is; None if nobody: no session owns it."""
    if not stat.ephemeral_owner:
        return None
    shallow = _SHALLOW.match(name) if layout == KAZOO_SHALLOW else None
    shown = shallow["data"].encode() if shallow else data
    return Member(name, shown, stat.ephemeral_owner, stat.czxid)
