"""Kafka's znodes (0.8 to 3.x): their paths, and the JSON in them.

Owns the bytes: what Kafka's own tools read and write below their chroot. Knows no server and no rules of what
to write when; those are in `partitions` (who leads), `brokers` (registration) and `term` (elections). What
operators and brokers ask of the controller is in `kafka_requests`.

Rules that hold here:

- Written are brokers' records of version 5, topics' of version 3 (2 without a topic id), states' and
  controllers' of version 1; all older ones are read.
- Who rewrites a topic keeps its id, and what is being added and removed.
- Integers stay integers, timestamps stay strings, host and port are always filled: old tools depend on it.
- Unknown fields and newer versions are tolerated; what cannot be read at all is `BadRecord`.

Synopsis::

    data = encode_broker(BrokerInfo(1, [("PLAINTEXT", "db1", 9092, "PLAINTEXT")]), timestamp_ms=0)
    decode_broker(1, data).host
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

BROKERS: Final = "/brokers/ids"
SEQUENCE_ID: Final = "/brokers/seqid"
TOPICS: Final = "/brokers/topics"
CONTROLLER: Final = "/controller"
CONTROLLER_EPOCH: Final = "/controller_epoch"
RESERVED_BROKER_ID_MAX: Final = 1000
"""`reserved.broker.max.id`: generated ids begin above it."""

NO_LEADER: Final = -1

_TOPIC: Final = re.compile(r"[a-zA-Z0-9._-]{1,249}\Z")

_ENDPOINT: Final = re.compile(
    r"(?P<name>[^:/]+)://(?:\[(?P<v6>[^\]]*)\]|(?P<host>[^:\[\]]*)):(?P<port>-?[0-9]+)\Z"
)


class BadRecord(ValueError):
    """A znode's bytes are not what Kafka writes there; the message says where and why."""


class Listener(NamedTuple):
    """One endpoint of a broker; `protocol` is PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."""

    name: str
    host: str
    port: int
    protocol: str = "PLAINTEXT"

    @property
    def endpoint(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.name}://{host}:{self.port}"


ListenerLike = Listener | tuple[str, str, int] | tuple[str, str, int, str]


@dataclass(frozen=True)
class BrokerInfo:
    """What a broker says of itself. `id` None asks the registry for a generated one."""

    id: int | None
    listeners: Iterable[ListenerLike] = ()
    rack: str | None = None
    features: Mapping[str, tuple[int, int]] = field(default_factory=dict, hash=False)
    jmx_port: int = -1

    def __post_init__(self) -> None:
        object.__setattr__(self, "listeners", tuple(Listener(*one) for one in self.listeners))

    @property
    def endpoints(self) -> tuple[Listener, ...]:
        """The listeners, all of one type."""
        return tuple(Listener(*one) for one in self.listeners)

    @property
    def host(self) -> str | None:
        """Of the first PLAINTEXT endpoint, which is all that the oldest readers know; else None."""
        return next((one.host for one in self.endpoints if one.protocol == "PLAINTEXT"), None)

    @property
    def port(self) -> int:
        return next((one.port for one in self.endpoints if one.protocol == "PLAINTEXT"), -1)


def broker_path(broker_id: int) -> str:
    return f"{BROKERS}/{broker_id}"


def topic_path(topic: str) -> str:
    return f"{TOPICS}/{topic}"


def partitions_path(topic: str) -> str:
    return f"{TOPICS}/{topic}/partitions"


def partition_path(topic: str, partition: int) -> str:
    return f"{partitions_path(topic)}/{partition}"


def state_path(topic: str, partition: int) -> str:
    return f"{partition_path(topic, partition)}/state"


def encode_broker(info: BrokerInfo, *, timestamp_ms: int) -> bytes:
    """The registration of a broker, version 5; `timestamp_ms` since 1970."""
    record: dict[str, Any] = {
        "version": 5,
        "host": info.host,
        "port": info.port,
        "jmx_port": info.jmx_port,
        "timestamp": str(timestamp_ms),
        "endpoints": [one.endpoint for one in info.endpoints],
        "listener_security_protocol_map": {one.name: one.protocol for one in info.endpoints},
        "features": {
            name: {"min_version": low, "max_version": high} for name, (low, high) in info.features.items()
        },
    }
    if info.rack is not None:
        record["rack"] = info.rack
    return dump(record)


def decode_broker(broker_id: int, data: bytes) -> BrokerInfo:
    """Read a registration of any version; raises `BadRecord`."""
    where = broker_path(broker_id)
    record = load(data, where)
    try:
        listeners = _listeners(record)
        features = {
            name: (int(span["min_version"]), int(span["max_version"]))
            for name, span in (record.get("features") or {}).items()
        }
        return BrokerInfo(broker_id, listeners, record.get("rack"), features, int(record.get("jmx_port", -1)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadRecord(f"{where}: not a broker's registration: {error!r}") from error


def _listeners(record: Mapping[str, Any]) -> list[Listener]:
    if int(record["version"]) < 2:  # version 1 knows one plain endpoint
        return [Listener("PLAINTEXT", str(record["host"]), int(record["port"]))]
    # Before version 4 a listener was named after its protocol.
    protocols = record.get("listener_security_protocol_map") or {}
    return [_listener(text, protocols) for text in record["endpoints"]]


def _listener(text: str, protocols: Mapping[str, str]) -> Listener:
    match = _ENDPOINT.match(text)
    if match is None:
        raise ValueError(f"{text!r} is not NAME://host:port")
    name = match["name"]
    host = match["v6"] if match["v6"] is not None else match["host"]
    return Listener(name, host, int(match["port"]), protocols.get(name, name))


class TopicPartition(NamedTuple):
    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


Replicas = tuple[int, ...]
"""Broker ids of one partition in assignment order; the first is the preferred leader."""


@dataclass(frozen=True)
class TopicRecord:
    """The replicas of a topic's partitions, and which of them a reassignment in progress adds and removes."""

    replicas: Mapping[int, Replicas]
    adding: Mapping[int, Replicas] = field(default_factory=dict)
    removing: Mapping[int, Replicas] = field(default_factory=dict)
    topic_id: str | None = None
    """tells a topic from an earlier one of the same name; None if it was made by old tools"""

    @property
    def reassigning(self) -> frozenset[int]:
        """The partitions that are being reassigned."""
        return frozenset(number for part in (self.adding, self.removing) for number in part)


def check_topic(topic: str) -> None:
    """Raise ValueError unless Kafka would take this name."""
    if topic in (".", "..") or not _TOPIC.match(topic):
        raise ValueError(f"{topic!r} is no topic's name: 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-'")


def encode_topic(record: TopicRecord) -> bytes:
    """Version 3; without an id version 2, as before there were any. Older readers find what they know."""
    fields: dict[str, Any] = {
        "version": 2 if record.topic_id is None else 3,
        "partitions": _numbered(record.replicas),
        "adding_replicas": _numbered(record.adding),
        "removing_replicas": _numbered(record.removing),
    }
    if record.topic_id is not None:
        fields["topic_id"] = record.topic_id
    return dump(fields)


def _numbered(replicas: Mapping[int, Iterable[int]]) -> dict[str, list[int]]:
    return {str(number): list(replicas[number]) for number in sorted(replicas) if replicas[number]}


def decode_topic(topic: str, data: bytes) -> TopicRecord:
    """The assignment of a topic, of any version; raises `BadRecord`."""
    where = topic_path(topic)
    record = load(data, where)
    try:
        topic_id = record.get("topic_id")
        return TopicRecord(
            _by_number(record["partitions"]),
            _by_number(record.get("adding_replicas") or {}),
            _by_number(record.get("removing_replicas") or {}),
            None if topic_id is None else str(topic_id),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadRecord(f"{where}: not a topic's assignment: {error!r}") from error


def _by_number(fields: Mapping[str, Any]) -> dict[int, Replicas]:
    return {
        int(number): tuple(int(broker) for broker in replicas)
        for number, replicas in sorted(fields.items(), key=lambda pair: int(pair[0]))
    }


@dataclass(frozen=True, slots=True)
class PartitionState:
    """Who leads a partition (`NO_LEADER` if nobody can) and who is in sync; epochs only grow."""

    leader: int
    leader_epoch: int
    controller_epoch: int
    isr: tuple[int, ...]


def encode_state(state: PartitionState) -> bytes:
    return dump(
        {
            "version": 1,
            "controller_epoch": state.controller_epoch,
            "leader": state.leader,
            "leader_epoch": state.leader_epoch,
            "isr": list(state.isr),
        }
    )


def decode_state(topic: str, partition: int, data: bytes) -> PartitionState:
    """Read a partition's state; raises `BadRecord`."""
    where = state_path(topic, partition)
    record = load(data, where)
    try:
        leader, leader_epoch = int(record["leader"]), int(record["leader_epoch"])
        isr = tuple(int(broker) for broker in record["isr"])
        return PartitionState(leader, leader_epoch, int(record["controller_epoch"]), isr)
    except (KeyError, TypeError, ValueError) as error:
        raise BadRecord(f"{where}: not a partition's state: {error!r}") from error


def encode_controller(broker_id: int, *, timestamp_ms: int) -> bytes:
    return dump({"version": 1, "brokerid": broker_id, "timestamp": str(timestamp_ms)})


def decode_controller(data: bytes) -> int:
    """The id of the broker that is the controller; raises `BadRecord`."""
    record = load(data, CONTROLLER)
    try:
        return int(record["brokerid"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadRecord(f"{CONTROLLER}: not a controller's record: {error!r}") from error


def decode_epoch(data: bytes) -> int:
    """`/controller_epoch` is plain decimal text; raises `BadRecord`."""
    try:
        return int(data)
    except ValueError as error:
        raise BadRecord(f"{CONTROLLER_EPOCH}: {data!r} is not a number") from error


def dump(record: Mapping[str, Any]) -> bytes:
    """A record as Kafka writes it: JSON, without blanks."""
    return json.dumps(record, separators=(",", ":")).encode()


def load(data: bytes, where: str) -> dict[str, Any]:
    """The fields of the record at `where`; raises `BadRecord`."""
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"{where}: not JSON: {error}") from error
    if not isinstance(record, dict):
        raise BadRecord(f"{where}: not a JSON object")
    return record
