"""`Config`: every setting of a server, checked, immutable.

Owns the defaults and the relations between settings. Must not know what a server does with them; only
`Config.from_file` touches the disk.

Rules that hold here:

- A `Config` that exists is valid: relations are checked wherever one is made.
- A key of ZooKeeper's that coord has no use for is accepted and noted; one whose protection coord cannot
  give is refused, and so is a key nobody knows. An error names file, line, key and what was expected.
- Secrets never show: not in an error, not in a note, not in a repr.

Synopsis::

    config = Config.from_file(Path("zoo.cfg"), log_notes=print)
    config = Config(client_port=0)  # in memory, on any free port
"""

from __future__ import annotations

import logging
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any, Self

from coord import limits
from coord.config.keys import NoteSink, read_settings
from coord.config.values import Member
from coord.errors import ConfigError

_LOG = logging.getLogger("coord.config")


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of one server. Field names are ZooKeeper's keys in snake case; `_ms` is milliseconds.

    A default that depends on others (-1) is replaced by the number: the field then holds that.
    """

    client_port: int = 2181
    """where clients are served; 0: any free port"""
    client_port_address: str = "0.0.0.0"
    """the interface clients are served on; 0.0.0.0: every one"""
    client_port_listen_backlog: int = -1
    """connections that may wait to be accepted; -1: the system's default"""
    data_dir: Path | None = None
    """the folder of snapshots (and of `myid`); None: nothing is kept on disk (not possible in a file)"""
    data_log_dir: Path | None = None
    """the folder of the log; None: the same as `data_dir`"""
    tick_time_ms: int = limits.TICK_TIME_MS
    """the unit of time: sessions last 2 to 20 of it"""
    init_limit: int = 10
    """ticks a follower may take to reach the leader's state"""
    sync_limit: int = 5
    """not used: a follower that is slow holds nobody up"""
    heartbeat_ms: int = -1
    """how often a leader is heard by its followers; -1: some 13 times a tick"""
    min_session_timeout_ms: int = -1
    """the shortest session that a client can have; -1: two ticks"""
    max_session_timeout_ms: int = -1
    """the longest; -1: twenty ticks"""
    max_client_cnxns: int = limits.CLIENT_CONNECTIONS_PER_HOST_MAX
    """connections from one address; 0: any number"""
    jute_maxbuffer: int = limits.FRAME_BYTES_MAX
    """the largest request of a client"""
    snap_count: int = limits.SNAPSHOT_ENTRIES
    """the log is rolled, and a snapshot made, after so many entries, or after `snap_size_limit_kb`"""
    snap_size_limit_kb: int = limits.SNAPSHOT_LOG_KB
    """the log is rolled, and a snapshot made, after so many KB, or after `snap_count` entries; 0: any size"""
    autopurge_snap_retain_count: int = limits.SNAPSHOTS_RETAINED
    """snapshots kept, with the log that the oldest of them needs"""
    autopurge_purge_interval: int = 0
    """hours; not used"""
    global_outstanding_limit: int = 1000
    """requests that wait for an answer, of all clients; not used: each connection has its own bound"""
    super_digest: str = field(default="", repr=False)
    """``super:base64(sha1(super:password))``; "": there is no super user"""
    extended_types_enabled: bool = False
    """TTL znodes"""
    four_letter_whitelist: frozenset[str] = frozenset({"srvr"})
    """the four-letter words that are answered; `*` among them: all"""
    admin_enable_server: bool = False
    """not used"""
    skip_acl: bool = False
    """everybody may do everything"""
    read_only_mode_enabled: bool = False
    """a member without a leader serves clients that are content with old data"""
    db_autocreate: bool = False
    """a voter with an empty disk votes at once; see `server.blank`"""
    container_check_interval_ms: int = limits.CONTAINER_CHECK_INTERVAL_MS
    """how often containers and TTL znodes that are due are looked for"""
    container_max_per_minute: int = limits.CONTAINERS_PER_CHECK_MAX
    """so many of them are deleted at the most"""
    members: Mapping[int, Member] = field(default_factory=dict)
    """the servers of the ensemble by id; empty: standalone"""
    my_id: int = 0
    """this server's id in `members`; 0: standalone"""
    quorum_listen_on_all_ips: bool = False
    """listen for the other members on every interface, not only on the address they know this one by"""
    weights: Mapping[int, int] = field(default_factory=dict)
    """of the votes, by id; 1 if not given"""
    groups: Mapping[int, frozenset[int]] = field(default_factory=dict)
    """the servers of each group: a quorum is a majority in a majority of them"""
    member_secret: bytes | None = field(default=None, repr=False)
    """what members prove to each other that they know (`memberSecretFile`); None: they believe each other"""

    def __post_init__(self) -> None:
        for name, ticks in (
            ("min_session_timeout_ms", limits.SESSION_TIMEOUT_TICKS_MIN),
            ("max_session_timeout_ms", limits.SESSION_TIMEOUT_TICKS_MAX),
        ):
            if getattr(self, name) == -1:
                object.__setattr__(self, name, ticks * self.tick_time_ms)
        if self.heartbeat_ms == -1:
            heartbeat_ms = max(1, int(self.tick_time_ms / limits.HEARTBEATS_PER_TICK))
            object.__setattr__(self, "heartbeat_ms", heartbeat_ms)
        problem = next(_problems(self), None)
        if problem:
            raise ConfigError(problem)

    @property
    def is_ensemble(self) -> bool:
        """One server line alone is a standalone server, as in ZooKeeper."""
        return len(self.members) > 1

    @property
    def zab_tick_ms(self) -> float:
        return self.heartbeat_ms / limits.ZAB_TICKS_PER_HEARTBEAT

    @property
    def silence_ms(self) -> float:
        """After so long without a word a member is given up."""
        return limits.SILENCE_ZAB_TICKS * self.zab_tick_ms

    @property
    def beat_ms(self) -> int:
        """The unit in which sessions expire."""
        return max(1, self.tick_time_ms // limits.BEATS_PER_TICK)

    @property
    def fresh_beats(self) -> int:
        """So long a member that has lost its leader answers pings of its clients: as long as others may take
        to notice that it has."""
        return ceil(self.silence_ms / self.beat_ms)

    @property
    def votes_with_others(self) -> bool:
        """Is this server one of several voters?"""
        others = [one for one, member in self.members.items() if member.votes and one != self.my_id]
        return bool(others) and self.members[self.my_id].votes

    @property
    def is_only_voter(self) -> bool:
        """Does nobody else have what this server has to keep?"""
        return not self.votes_with_others and (not self.is_ensemble or self.members[self.my_id].votes)

    @property
    def log_dir(self) -> Path | None:
        return self.data_log_dir or self.data_dir

    def allows_four_letter(self, command: str) -> bool:
        allowed = self.four_letter_whitelist
        return "*" in allowed or command in allowed or (command == "isro" and self.read_only_mode_enabled)

    def membership_text(self) -> str:
        """The servers as `conf` and /zookeeper/config write them, without a line end at the end."""
        lines = [f"server.{server_id}={member}" for server_id, member in sorted(self.members.items())]
        return "\n".join([*lines, "version=0"])

    @classmethod
    def from_file(cls, path: Path, log_notes: NoteSink = _LOG.info) -> Self:
        """Reads zoo.cfg, the dynamicConfigFile it names, and `myid` in dataDir.

        `log_notes` is called with one line about each setting that is accepted without effect.
        Raises `ConfigError`, e.g. ``zoo.cfg:12: tickTime: expected milliseconds, 1 to 2147483647, got 'x'``.
        """
        settings = read_settings(_read(path), str(path), log_notes)
        dynamic = settings.pop("dynamic_config_file", None)
        if dynamic is not None:
            if "members" in settings:
                raise ConfigError(
                    f"{path}: server lines stand both here and in {dynamic}; keep one of the two"
                )
            settings |= read_settings(_read(Path(dynamic)), dynamic, log_notes)
        secret = settings.pop("member_secret_file", None)
        if secret is not None:
            settings["member_secret"] = _secret(Path(secret))
        if "data_dir" not in settings:
            raise ConfigError(f"{path}: dataDir is missing: the folder that keeps the data")
        if "members" in settings:
            _find_myself(settings, str(path))
        try:
            return cls(**settings)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from None


def _secret(path: Path) -> bytes:
    secret = _read(path).strip().encode()
    if len(secret) < limits.MEMBER_SECRET_BYTES_MIN:
        raise ConfigError(
            f"{path}: a secret of the members has at least {limits.MEMBER_SECRET_BYTES_MIN} bytes, "
            f"this one has {len(secret)}"
        )
    if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        _LOG.warning("%s: others than its owner can read the members' secret (chmod 600)", path)
    return secret


def _find_myself(settings: dict[str, Any], file: str) -> None:
    """Adds `my_id`, and the client address that this server's own line names."""
    members: dict[int, Member] = settings["members"]
    settings["my_id"] = _my_id(settings["data_dir"] / "myid", members)
    own = members[settings["my_id"]].client_address
    if own is None:
        return
    host, port = own
    if settings.setdefault("client_port", port) != port:
        raise ConfigError(
            f"{file}: clientPort is {settings['client_port']}, but the own server line says {port}"
        )
    if host and settings.setdefault("client_port_address", host) != host:
        raise ConfigError(
            f"{file}: clientPortAddress differs from the address in the own server line, {host}"
        )


def _my_id(path: Path, members: Mapping[int, Member]) -> int:
    """The id in `myid`; one server alone needs no such file."""
    if len(members) == 1 and not path.exists():
        return next(iter(members))
    if not path.exists():
        raise ConfigError(f"{path}: missing: it must hold this server's id, one of {_listed(members)}")
    text = _read(path).strip()
    if not (text.isascii() and text.isdecimal()):
        raise ConfigError(f"{path}: expected this server's id, an integer, got {text[:40]!r}")
    if int(text) not in members:
        raise ConfigError(f"{path}: there is no server.{int(text)} among the servers {_listed(members)}")
    return int(text)


def _listed(members: Mapping[int, Member]) -> str:
    return ", ".join(str(server_id) for server_id in sorted(members))


def _problems(config: Config) -> Iterator[str]:
    """What does not fit together, in the words of zoo.cfg; the first one is reported."""
    low, high = config.min_session_timeout_ms, config.max_session_timeout_ms
    if not 0 < low <= high:
        yield f"minSessionTimeout ({low} ms) must be more than 0 and at most maxSessionTimeout ({high} ms)"
    if config.member_secret is not None and len(config.member_secret) < limits.MEMBER_SECRET_BYTES_MIN:
        yield f"a secret of the members has at least {limits.MEMBER_SECRET_BYTES_MIN} bytes"
    if config.jute_maxbuffer > limits.RECORD_BYTES_MAX // 2:
        yield f"jute.maxbuffer ({config.jute_maxbuffer}) must be at most {limits.RECORD_BYTES_MAX // 2}"
    if config.members:
        yield from _ensemble_problems(config)


def _ensemble_problems(config: Config) -> Iterator[str]:
    members = config.members
    if not 1 <= config.heartbeat_ms <= config.tick_time_ms // 4:
        yield (
            f"heartbeatInterval ({config.heartbeat_ms} ms) must be at most a quarter of tickTime "
            f"({config.tick_time_ms} ms): a leader that dies unheard is missed after seven of them"
        )
    if config.my_id not in members:
        yield f"this server's id, {config.my_id}, is not among the servers {_listed(members)}"
    if not any(member.votes for member in members.values()):
        yield "no server is a participant: nobody could lead"
    places = [(m.host, port) for m in members.values() for port in (m.peer_port, m.election_port)]
    twice = next((place for place in places if places.count(place) > 1), None)
    if twice:
        yield f"two servers (or two ports of one) share {twice[0]}:{twice[1]}"
    strangers = {*config.weights, *(one for group in config.groups.values() for one in group)} - {*members}
    if strangers:
        yield f"weight or group names server {min(strangers)}, which has no server line"
    grouped = [one for group in config.groups.values() for one in group]
    if len(grouped) != len(set(grouped)):
        yield "a server is in two groups"
    if grouped and any(member.votes and one not in grouped for one, member in members.items()):
        yield "where there are groups, each participant must be in one"
