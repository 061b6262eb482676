"""What a server tells of itself to whoever watches over it.

Owns nothing but the shape: `ServerView` is what the four-letter words are written from, so that they need
neither the server nor its sockets, and tests can make one up.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from coord.config import Config
from coord.server.stats import ConnectionStats, ServerStats


class ConnectionView(Protocol):
    """What is told of one connection."""

    @property
    def address(self) -> tuple[str, int]: ...
    @property
    def session_id(self) -> int:
        """0: no session yet"""

    @property
    def timeout_ms(self) -> int: ...
    @property
    def is_read(self) -> bool:
        """False while its socket is not read, because it is over a bound or about to close"""

    @property
    def outstanding(self) -> int:
        """requests that wait for their reply"""

    @property
    def stats(self) -> ConnectionStats: ...


class ServerView(Protocol):
    """What is told of the server; each property is only read when a word needs it."""

    @property
    def config(self) -> Config: ...
    @property
    def version(self) -> str:
        """see `four_letter.version_text`"""

    @property
    def environment(self) -> Mapping[str, str]:
        """host.name, python.version, os.name, …: for `envi`"""

    @property
    def is_serving(self) -> bool: ...
    @property
    def is_read_only(self) -> bool: ...
    @property
    def mode(self) -> str:
        """standalone, leader, follower, observer or read-only"""

    @property
    def zxid(self) -> int: ...
    @property
    def digest(self) -> int:
        """of the tree, at `zxid`"""

    @property
    def uptime_ms(self) -> int: ...
    @property
    def outstanding(self) -> int: ...
    @property
    def stats(self) -> ServerStats: ...
    @property
    def connections(self) -> Collection[ConnectionView]: ...
    @property
    def node_count(self) -> int: ...
    @property
    def data_size(self) -> int:
        """bytes of all paths and data, approximately"""

    @property
    def sessions(self) -> Mapping[int, int]:
        """timeout in ms by session id"""

    @property
    def local_sessions(self) -> int:
        """how many sessions only this member knows"""

    @property
    def ephemerals(self) -> Mapping[int, Collection[str]]:
        """paths by session id"""

    @property
    def watch_count(self) -> int:
        """of every kind"""

    @property
    def watched_paths(self) -> Mapping[str, Collection[int]]:
        """session ids that watch a path's data or existence"""

    def yield_leadership(self) -> bool:
        """Has this leader hand over to another member, soon. False: it does not lead."""

    @property
    def disk_bytes(self) -> tuple[int, int]:
        """in dataDir and in dataLogDir"""

    @property
    def metrics(self) -> Mapping[str, str | int | float]:
        """more for `mntr`, without ``zk_``: what the role, the disk and the process count"""
