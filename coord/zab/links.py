"""Which connection a message came by.

Owns the name of a connection, `Link`. Must not know what a connection is made of: that is the caller's.
"""

from __future__ import annotations

from typing import NamedTuple


class Link(NamedTuple):
    """A connection to another member; `number` tells it from every other one this member has had."""

    member: int
    number: int
