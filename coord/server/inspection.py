"""What the four-letter words are told: a server as `view.ServerView` describes it.

Owns nothing; looks at the replica, the process and the disk at the moment of asking. Shell: it reads clocks
and files.
"""

from __future__ import annotations

import getpass
import os
import platform
import resource
import socket
import sys
from collections.abc import Collection, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import monotonic

from coord.config import Config
from coord.server.connection import Connection
from coord.server.four_letter import version_text
from coord.server.replica import Replica
from coord.server.standing import metrics_of
from coord.server.stats import ServerStats

RELEASED = "2026-11-22"


class Inspection:
    """See `view.ServerView` for what each property means."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._started = monotonic()
        # Looked up once: both read files, and a word must be answered also when none can be opened any more.
        self.version = _version()
        self.environment = _environment()

    @property
    def config(self) -> Config:
        return self._replica.config

    @property
    def mode(self) -> str:
        config, leader = self.config, self._replica.peer.leader
        if not config.is_ensemble:
            return "standalone"
        if self.is_read_only:
            return "read-only"
        if leader == config.my_id:
            return "leader"
        if leader is None:
            return "looking"
        return "follower" if self._replica.peer.is_voter else "observer"

    @property
    def is_serving(self) -> bool:
        return self._replica.serving or self.is_read_only

    @property
    def is_read_only(self) -> bool:
        return self._replica.read_only.active

    @property
    def zxid(self) -> int:
        return self._replica.machine.zxid

    @property
    def digest(self) -> int:
        return self._replica.machine.digest

    @property
    def uptime_ms(self) -> int:
        return int((monotonic() - self._started) * 1000)

    @property
    def outstanding(self) -> int:
        return sum(connection.outstanding for connection in self._replica.lobby.connections)

    @property
    def stats(self) -> ServerStats:
        return self._replica.stats

    @property
    def connections(self) -> Collection[Connection]:
        return list(self._replica.lobby.connections)

    @property
    def node_count(self) -> int:
        return self._replica.machine.tree.node_count

    @property
    def data_size(self) -> int:
        return self._replica.machine.tree.data_bytes

    @property
    def sessions(self) -> Mapping[int, int]:
        return self._replica.machine.sessions.timeouts

    @property
    def local_sessions(self) -> int:
        return len(self._replica.read_only)

    @property
    def ephemerals(self) -> Mapping[int, Collection[str]]:
        return self._replica.machine.tree.ephemerals

    @property
    def watch_count(self) -> int:
        return len(self._replica.watches)

    @property
    def watched_paths(self) -> Mapping[str, Collection[int]]:
        by_path = self._replica.watches.by_path()
        return {path: [watcher.session_id for watcher in watchers] for path, watchers in by_path.items()}

    def yield_leadership(self) -> bool:
        peer = self._replica.peer
        if not peer.leading or not self.config.is_ensemble:
            return False
        peer.leave()
        return True

    @property
    def disk_bytes(self) -> tuple[int, int]:
        config = self.config
        if config.data_dir is None or config.log_dir is None:
            return 0, 0
        return _bytes_below(config.data_dir / "coord" / "snapshots"), _bytes_below(
            config.log_dir / "coord" / "log"
        )

    @property
    def metrics(self) -> Mapping[str, str | int | float]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        soft_limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        ensemble = metrics_of(self._replica, self._replica.turn_ms) if self.config.is_ensemble else {}
        return {
            **ensemble,
            "open_file_descriptor_count": _open_files(),
            "max_file_descriptor_count": soft_limit,
            "process_cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
        }


def _version() -> str:
    try:
        return version_text(version("coord"), RELEASED)
    except PackageNotFoundError:  # run from a checkout that is not installed
        return version_text("0", RELEASED)


def _environment() -> Mapping[str, str]:
    system = platform.uname()
    return {
        "host.name": socket.gethostname(),
        "python.version": platform.python_version(),
        "python.implementation": platform.python_implementation(),
        "python.executable": sys.executable,
        "os.name": system.system,
        "os.arch": system.machine,
        "os.version": system.release,
        "user.name": _user_name(),
        "user.dir": _working_directory(),
    }


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was deleted
        return ""


def _open_files() -> int:
    try:
        return len(os.listdir("/dev/fd"))
    except OSError:  # not on this platform
        return -1


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without an entry for this uid
        return str(os.getuid())


def _bytes_below(directory: Path) -> int:
    try:
        return sum(entry.stat().st_size for entry in os.scandir(directory) if entry.is_file())
    except OSError:  # the directory is not there yet, or a file of it was just purged
        return 0
