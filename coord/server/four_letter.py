"""Four-letter words: four bytes on the client port, answered with a text and a close.

Owns the words and the exact texts, which are Apache ZooKeeper 3.8's: monitoring parses them. Must not know
sockets, clocks or the disk; everything comes from a `ServerView`.

Rules that hold here: a word that the configuration does not allow, or that needs a server which serves, says
so in ZooKeeper's words; only `crst` and `srst` (counters) and `ydld` (who leads) change anything.

Synopsis::

    word = recognise(first_four_bytes)  # "srvr", or None: the bytes begin a frame
    text = answer(word, view)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

from coord.config import Config
from coord.server.view import ConnectionView, ServerView
from coord.wire.records import Op

TRACE_MASK: Final = 306
"""What `gtmk` answers: ZooKeeper's default; coord's log has levels instead."""


def version_text(coord_version: str, released: str) -> str:
    """Clients read ``(\\d+)\\.(\\d+)\\.(\\d+)-`` off it and use what ZooKeeper 3.8 offers."""
    return f"3.8.0-coord{coord_version}, built on {released}"


def recognise(first: bytes) -> str | None:
    """The word that a connection's first four bytes are, if they are one."""
    return _WORD_OF.get(first)


def answer(word: str, view: ServerView) -> str:
    """The text for a word that `recognise` gave."""
    if not view.config.allows_four_letter(word):
        return f"{word} is not executed because it is not in the whitelist.\n"
    if not view.is_serving and word not in _ALWAYS:
        return "This ZooKeeper instance is not currently serving requests\n"
    return _ANSWERS[word](view)


# -- the server as a whole ----------------------------------------------------------------------------


def _srvr(view: ServerView) -> str:
    return _version_line(view) + _summary(view)


def _stat(view: ServerView) -> str:
    clients = "".join(f" {_brief(each)})\n" for each in view.connections)
    return f"{_version_line(view)}Clients:\n{clients}\n{_summary(view)}"


def _version_line(view: ServerView) -> str:
    return f"Zookeeper version: {view.version}\n"


def _summary(view: ServerView) -> str:
    stats, latency = view.stats, view.stats.latency
    text = (
        f"Latency min/avg/max: {latency.low}/{_java(latency.average)}/{latency.high}\n"
        f"Received: {stats.received}\n"
        f"Sent: {stats.sent}\n"
        f"Connections: {len(view.connections)}\n"
        f"Outstanding: {view.outstanding}\n"
        f"Zxid: 0x{view.zxid:x}\n"
        f"Mode: {view.mode}\n"
        f"Node count: {view.node_count}\n"
    )
    if view.is_read_only:
        text = "READ-ONLY mode; serving only read-only clients\n" + text
    if view.mode == "leader":
        last, low, high = (view.metrics.get(f"{which}_proposal_size", -1) for which in ("last", "min", "max"))
        text += f"Proposal sizes last/min/max: {last}/{low}/{high}\n"
    return text


def _mntr(view: ServerView) -> str:
    stats, latency = view.stats, view.stats.latency
    values: dict[str, str | int | float] = {
        "version": view.version,
        "server_state": view.mode,
        "avg_latency": latency.average,
        "max_latency": latency.high,
        "min_latency": latency.low,
        "packets_received": stats.received,
        "packets_sent": stats.sent,
        "num_alive_connections": len(view.connections),
        "outstanding_requests": view.outstanding,
        "uptime": view.uptime_ms,
        "znode_count": view.node_count,
        "watch_count": view.watch_count,
        "ephemerals_count": sum(map(len, view.ephemerals.values())),
        "approximate_data_size": view.data_size,
        "global_sessions": len(view.sessions),
        "local_sessions": view.local_sessions,
        **view.metrics,
    }
    return "".join(f"zk_{key}\t{_java(value)}\n" for key, value in values.items())


def _conf(view: ServerView) -> str:
    config = view.config
    data_bytes, log_bytes = view.disk_bytes
    lines = [
        f"clientPort={config.client_port}",
        "secureClientPort=-1",
        f"dataDir={config.data_dir or ''}",
        f"dataDirSize={data_bytes}",
        f"dataLogDir={config.log_dir or ''}",
        f"dataLogSize={log_bytes}",
        f"tickTime={config.tick_time_ms}",
        f"maxClientCnxns={config.max_client_cnxns}",
        f"minSessionTimeout={config.min_session_timeout_ms}",
        f"maxSessionTimeout={config.max_session_timeout_ms}",
        f"clientPortListenBacklog={config.client_port_listen_backlog}",
        f"serverId={config.my_id}",
    ]
    return "\n".join(lines) + "\n" + (_quorum_conf(config) if config.is_ensemble else "")


def _quorum_conf(config: Config) -> str:
    own = config.members[config.my_id]
    lines = [
        f"initLimit={config.init_limit}",
        f"syncLimit={config.sync_limit}",
        "electionAlg=3",
        f"electionPort={own.election_port}",
        f"quorumPort={own.peer_port}",
        f"peerType={0 if own.votes else 1}",
        "membership: ",
        config.membership_text(),
    ]
    return "\n".join(lines)


def _ydld(view: ServerView) -> str:
    """ClickHouse Keeper's word, and its answers: ZooKeeper has none for it."""
    what = "Sent" if view.yield_leadership() else "Failed to send"
    return f"{what} yield leadership request to leader.\n"


def _envi(view: ServerView) -> str:
    values = {"zookeeper.version": view.version, **view.environment}
    return "Environment:\n" + "".join(f"{key}={value}\n" for key, value in values.items())


def _isro(view: ServerView) -> str:
    if not view.is_serving:
        return "null"
    return "ro" if view.is_read_only else "rw"


def _dirs(view: ServerView) -> str:
    data_bytes, log_bytes = view.disk_bytes
    return f"datadir_size: {data_bytes}\nlogdir_size: {log_bytes}\n"


def _hash(view: ServerView) -> str:
    return f"{view.zxid:x}: {view.digest}\n"


# -- connections, sessions, watches ---------------------------------------------------------------------


def _cons(view: ServerView) -> str:
    return "".join(f" {_brief(each)}{_detail(each)})\n" for each in view.connections) + "\n"


def _brief(connection: ConnectionView) -> str:
    stats = connection.stats
    return (
        f"{_address(connection)}[{int(connection.is_read)}]"
        f"(queued={connection.outstanding},recved={stats.received},sent={stats.sent}"
    )


def _detail(connection: ConnectionView) -> str:
    """Nothing before there is a session."""
    if not connection.session_id:
        return ""
    stats, latency = connection.stats, connection.stats.latency
    xid = f",lcxid={_hexadecimal(stats.last_xid)}" if stats.last_xid >= 0 else ""
    return (
        f",sid={_hexadecimal(connection.session_id)},lop={_OPERATIONS.get(stats.last_op, 'NA')}"
        f",est={stats.established_ms},to={connection.timeout_ms}{xid},lzxid={_hexadecimal(stats.last_zxid)}"
        f",lresp={stats.last_reply_ms},llat={latency.last}"
        f",minlat={latency.low},avglat={int(latency.average)},maxlat={latency.high}"
    )


def _dump(view: ServerView) -> str:
    sessions = "".join(f"{_hexadecimal(id_)}\t{ms}ms\n" for id_, ms in view.sessions.items())
    ephemerals = "".join(
        f"{_hexadecimal(owner)}:\n" + "".join(f"\t{path}\n" for path in paths)
        for owner, paths in view.ephemerals.items()
        if paths
    )
    owners = sum(1 for paths in view.ephemerals.values() if paths)
    connections = "".join(
        f"\tip: {_address(each)} sessionId: {_hexadecimal(each.session_id)}\n" for each in view.connections
    )
    return (
        f"SessionTracker dump:\nGlobal Sessions({len(view.sessions)}):\n{sessions}"
        f"ephemeral nodes dump:\nSessions with Ephemerals ({owners}):\n{ephemerals}"
        f"Connections dump:\n{connections}"
    )


def _wchs(view: ServerView) -> str:
    paths = view.watched_paths
    watchers = {session_id for ids in paths.values() for session_id in ids}
    total = sum(map(len, paths.values()))
    return f"{len(watchers)} connections watching {len(paths)} paths\nTotal watches:{total}\n"


def _wchc(view: ServerView) -> str:
    by_session: dict[int, list[str]] = {}
    for path, ids in view.watched_paths.items():
        for session_id in ids:
            by_session.setdefault(session_id, []).append(path)
    return _grouped({_hexadecimal(id_): paths for id_, paths in by_session.items()})


def _wchp(view: ServerView) -> str:
    return _grouped({path: map(_hexadecimal, ids) for path, ids in view.watched_paths.items()})


def _crst(view: ServerView) -> str:
    for connection in view.connections:
        connection.stats.reset()
    return "Connection stats reset.\n"


def _srst(view: ServerView) -> str:
    view.stats.reset()
    return "Server stats reset.\n"


def _grouped(groups: Mapping[str, Collection[str] | map[str]]) -> str:
    return "".join(f"{key}\n" + "".join(f"\t{one}\n" for one in ones) for key, ones in groups.items()) + "\n"


def _address(connection: ConnectionView) -> str:
    """As Java writes a socket's address."""
    host, port = connection.address
    return f"/[{host}]:{port}" if ":" in host else f"/{host}:{port}"


def _hexadecimal(number: int) -> str:
    return hex(number & 0xFFFFFFFFFFFFFFFF)


def _java(value: str | int | float) -> str:
    """A number as Java prints it, averages with at most four decimals."""
    return str(round(value, 4)) if isinstance(value, float) else str(value)


_OPERATIONS: Final[Mapping[int | None, str]] = {
    Op.CREATE_SESSION: "SESS",
    Op.PING: "PING",
    Op.CREATE: "CREA",
    Op.CREATE2: "CREA",
    Op.CREATE_CONTAINER: "CREA",
    Op.CREATE_TTL: "CREA",
    Op.DELETE: "DELE",
    Op.DELETE_CONTAINER: "DELE",
    Op.EXISTS: "EXIS",
    Op.GET_DATA: "GETD",
    Op.SET_DATA: "SETD",
    Op.GET_ACL: "GETA",
    Op.SET_ACL: "SETA",
    Op.GET_CHILDREN: "GETC",
    Op.GET_CHILDREN2: "GETC",
    Op.SYNC: "SYNC",
    Op.MULTI: "MULT",
    Op.MULTI_READ: "MLTR",
    Op.CHECK: "CHEC",
    Op.SET_WATCHES: "SETW",
    Op.SET_WATCHES2: "STW2",
    Op.ADD_WATCH: "ADDW",
    Op.REMOVE_WATCHES: "REMW",
    Op.CHECK_WATCHES: "CHKW",
    Op.GET_EPHEMERALS: "GETE",
    Op.GET_ALL_CHILDREN_NUMBER: "GETACN",
    Op.WHO_AM_I: "HOMI",
    Op.RECONFIG: "RECO",
    Op.CLOSE_SESSION: "CLOS",
}
_ANSWERS: Final[Mapping[str, Callable[[ServerView], str]]] = {
    "srvr": _srvr,
    "stat": _stat,
    "ruok": lambda view: "imok",
    "mntr": _mntr,
    "conf": _conf,
    "cons": _cons,
    "envi": _envi,
    "isro": _isro,
    "dump": _dump,
    "wchs": _wchs,
    "wchc": _wchc,
    "wchp": _wchp,
    "dirs": _dirs,
    "crst": _crst,
    "srst": _srst,
    "gtmk": lambda view: str(TRACE_MASK),
    "hash": _hash,
    "ydld": _ydld,
}
_ALWAYS: Final = frozenset({"ruok", "envi", "isro", "gtmk"})
"""What also a server that does not serve answers."""
WORDS: Final = frozenset(_ANSWERS)
_WORD_OF: Final = {word.encode(): word for word in WORDS}
