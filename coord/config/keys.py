"""The keys of zoo.cfg: which field of `Config` each one sets, and what its value may be.

Owns the table, and the reading of one file's settings against it. Must not touch the disk.

Synopsis::

    read_settings("tickTime=2000\\n", "zoo.cfg", notes.append)  # {"tick_time_ms": 2000}
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from coord.config.properties import Property, parse
from coord.config.values import (
    Unexpected,
    byte_count,
    count,
    filled,
    integer,
    member,
    milliseconds,
    or_minus_one,
    port,
    positive,
    server_ids,
    super_digest,
    switch,
    ticks,
    words,
)
from coord.config.zookeeper_keys import FULFILLED, REFUSED, UNNEEDED, UNNEEDED_PREFIXES
from coord.errors import ConfigError

NoteSink = Callable[[str], object]


class Key(NamedTuple):
    """One setting: the field it sets and the function its value goes through."""

    field: str
    convert: Callable[[str], Any]
    secret: bool = False


KEYS: Mapping[str, Key] = {
    "clientPort": Key("client_port", port),
    "clientPortAddress": Key("client_port_address", filled("an address of this machine")),
    "clientPortListenBacklog": Key("client_port_listen_backlog", or_minus_one(positive)),
    "dataDir": Key("data_dir", lambda text: Path(filled("a folder")(text))),
    "dataLogDir": Key("data_log_dir", lambda text: Path(filled("a folder")(text))),
    "tickTime": Key("tick_time_ms", milliseconds),
    "initLimit": Key("init_limit", ticks),
    "syncLimit": Key("sync_limit", ticks),
    "heartbeatInterval": Key("heartbeat_ms", or_minus_one(milliseconds)),
    "minSessionTimeout": Key("min_session_timeout_ms", or_minus_one(milliseconds)),
    "maxSessionTimeout": Key("max_session_timeout_ms", or_minus_one(milliseconds)),
    "maxClientCnxns": Key("max_client_cnxns", count),
    "jute.maxbuffer": Key("jute_maxbuffer", byte_count),
    "snapCount": Key("snap_count", integer(2, 2**31 - 1, "a number of log entries")),
    "snapSizeLimitInKb": Key("snap_size_limit_kb", count),
    "autopurge.snapRetainCount": Key("autopurge_snap_retain_count", positive),
    "autopurge.purgeInterval": Key("autopurge_purge_interval", count),
    "globalOutstandingLimit": Key("global_outstanding_limit", positive),
    "DigestAuthenticationProvider.superDigest": Key("super_digest", super_digest, secret=True),
    "extendedTypesEnabled": Key("extended_types_enabled", switch),
    "4lw.commands.whitelist": Key("four_letter_whitelist", words),
    "admin.enableServer": Key("admin_enable_server", switch),
    "skipACL": Key("skip_acl", switch),
    "readonlymode.enabled": Key("read_only_mode_enabled", switch),
    "db.autocreate": Key("db_autocreate", switch),
    "znode.container.checkIntervalMs": Key("container_check_interval_ms", milliseconds),
    "znode.container.maxPerMinute": Key("container_max_per_minute", positive),
    "quorumListenOnAllIPs": Key("quorum_listen_on_all_ips", switch),
    "memberSecretFile": Key("member_secret_file", filled("a file")),
    "dynamicConfigFile": Key("dynamic_config_file", filled("a file")),
}
NUMBERED: Mapping[str, Key] = {
    "server": Key("members", member),
    "weight": Key("weights", count),
    "group": Key("groups", server_ids),
}
"""Keys with a number after a dot, which fill a dict: ``server.3=…``."""

NOTED: Mapping[str, str] = {
    "admin.enableServer": "there is no admin server; the four-letter word mntr tells as much",
    "autopurge.purgeInterval": "coord purges after every snapshot",
}
"""What to say about settings that coord reads and does not obey to the letter."""


def read_settings(text: str, file: str, log_note: NoteSink) -> dict[str, Any]:
    """The fields of `Config` that a file sets. Raises `ConfigError` with the place of the first error."""
    settings: dict[str, Any] = {}
    seen: dict[str, int] = {}
    for setting in parse(text):
        if setting.key in seen:
            log_note(
                f"{file}:{setting.line}: {setting.key} was set in line {seen[setting.key]}; this one counts"
            )
        seen[setting.key] = setting.line
        _read_one(setting, f"{file}:{setting.line}: {setting.key}", settings, log_note)
    return settings


def _read_one(setting: Property, where: str, settings: dict[str, Any], log_note: NoteSink) -> None:
    numbered = re.fullmatch(r"(server|weight|group)\.(.*)", setting.key)
    if numbered:
        key = NUMBERED[numbered[1]]
        if not re.fullmatch(r"[0-9]+", numbered[2]):
            raise ConfigError(f"{where}: expected an integer after {numbered[1]}., got {numbered[2]!r}")
        settings.setdefault(key.field, {})[int(numbered[2])] = _convert(key, setting.value, where)
    elif setting.key in KEYS:
        key = KEYS[setting.key]
        value = settings[key.field] = _convert(key, setting.value, where)
        if value and setting.key in NOTED:
            log_note(f"{where}: {NOTED[setting.key]}")
    else:
        _other_key(setting, where, log_note)


def _convert(key: Key, text: str, where: str) -> Any:
    try:
        return key.convert(text)
    except Unexpected as error:
        got = "something else" if key.secret else repr(text)
        raise ConfigError(f"{where}: expected {error}, got {got}") from None


def _other_key(setting: Property, where: str, log_note: NoteSink) -> None:
    """A key that sets no field: known to ZooKeeper, or a mistake."""
    name = setting.key
    if setting.value.lower() in FULFILLED.get(name, ()):
        return
    if name in REFUSED:
        if setting.value.lower() not in ("", "false", "no"):
            raise ConfigError(f"{where}: {REFUSED[name]}")
    elif name in UNNEEDED or name.startswith(UNNEEDED_PREFIXES):
        log_note(f"{where}: accepted without effect")
    elif name.removeprefix("zookeeper.") != name:
        raise ConfigError(
            f"{where}: in zoo.cfg the key is {name.removeprefix('zookeeper.')}, without zookeeper."
        )
    else:
        known = {*KEYS, *UNNEEDED, *REFUSED, "server.1", "weight.1", "group.1"}
        lower = {key.lower(): key for key in known}
        near = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
        hint = f"; did you mean {lower[near[0]]}?" if near else ""
        raise ConfigError(f"{where}: not a key of zoo.cfg{hint}")
