"""The vocabulary of the session core: a request on its way, and what the core tells the shell.

Owns nothing; plain data. Must not know: the order of things (see `session`), sockets, tasks.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from math import inf
from typing import Any, Final, NamedTuple

from coord.client.watches import Kind, Watcher, WatchEvent
from coord.errors import CoordError

NO_PASSWORD: Final = bytes(16)


class SessionState(Enum):
    CONNECTED = auto()
    CONNECTED_READ_ONLY = auto()
    """connected to a server without a quorum: reads only, possibly old, and nothing is guaranteed"""
    SUSPENDED = auto()
    """no connection: the session may or may not live on"""
    EXPIRED = auto()
    """the session is over; a new one is being opened"""
    AUTH_FAILED = auto()
    """a server refused the credentials: final"""
    CLOSED = auto()
    """the client was closed: final"""


class SessionHandle(NamedTuple):
    """What it takes to carry a session on in another process. The password is a secret."""

    id: int
    password: bytes


class Call:
    """One request, and what became of it: `finished`, and then either `error` or `reply` with `zxid`."""

    __slots__ = (
        "abandoned",
        "body",
        "error",
        "finished",
        "op",
        "operation",
        "path",
        "repeatable",
        "reply",
        "sent_at",
        "waiter",
        "watch",
        "xid",
        "zxid",
    )  # fmt: skip

    def __init__(
        self,
        op: int,
        body: bytes,
        *,
        path: str = "",
        operation: str = "",
        repeatable: bool = False,
        watch: tuple[Kind, str, Watcher] | None = None,
    ) -> None:
        self.op = op
        self.body = body
        self.path = path
        self.operation = operation
        self.repeatable = repeatable
        """a read: sent again if the connection breaks before the reply"""
        self.watch = watch
        """armed by the reply: kind, path and watcher"""
        self.xid = 0
        self.sent_at = -inf
        self.abandoned = False
        self.finished = False
        self.reply = b""
        self.zxid = 0
        self.error: CoordError | int | None = None
        """None: it worked; an int: the server's error code; else what the client itself concluded"""
        self.waiter: Any = None
        """the shell's business"""


class Fired(NamedTuple):
    event: WatchEvent
    watchers: set[Watcher]


class Opened(NamedTuple):
    """A connection is established; `new` if with it a new session."""

    new: bool
    lasting: set[Watcher]
    """watchers with persistent watches, who may have missed events"""


class Ended(NamedTuple):
    """The session is over."""

    watchers: set[Watcher]
    """watchers whose watches ended with it"""


Outcome = Call | Fired | Opened | Ended


@dataclass(slots=True)
class Credential:
    scheme: str
    auth: bytes
    call: Call | None
    """who waits for the server's opinion of it"""
