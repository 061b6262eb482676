"""Kafka's znodes (0.8 to 3.x): their paths, and the JSON in them.

Owns the bytes: what Kafka's own tools read and write below their chroot. Knows no server and no rules of what
to write when; those are in `partitions` (who leads), `brokers` (registration) and `controller` (elections).

Rules that hold here:

- Written are brokers' records of version 5, topics' of version 2, states' and controllers' of version 1; all
  older ones are read.
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


def partition_path(topic: str, partition: int) -> str:
    return f"{TOPICS}/{topic}/partitions/{partition}"


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
    return _dump(record)


def decode_broker(broker_id: int, data: bytes) -> BrokerInfo:
    """Read a registration of any version; raises `BadRecord`."""
    where = broker_path(broker_id)
    record = _load(data, where)
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


def encode_topic(assignment: Mapping[int, Iterable[int]]) -> bytes:
    """The replica assignment of a topic, by partition: broker ids, the preferred leader first."""
    return _dump(
        {
            "version": 2,
            "partitions": {str(number): list(assignment[number]) for number in sorted(assignment)},
            "adding_replicas": {},
            "removing_replicas": {},
        }
    )


def decode_topic(topic: str, data: bytes) -> dict[int, tuple[int, ...]]:
    """The replica assignment by partition, of any version; raises `BadRecord`."""
    where = topic_path(topic)
    record = _load(data, where)
    try:
        return {
            int(number): tuple(int(broker) for broker in replicas)
            for number, replicas in record["partitions"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadRecord(f"{where}: not a topic's assignment: {error!r}") from error


@dataclass(frozen=True, slots=True)
class PartitionState:
    """Who leads a partition (`NO_LEADER` if nobody can) and who is in sync; epochs only grow."""

    leader: int
    leader_epoch: int
    controller_epoch: int
    isr: tuple[int, ...]


def encode_state(state: PartitionState) -> bytes:
    return _dump(
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
    record = _load(data, where)
    try:
        leader, leader_epoch = int(record["leader"]), int(record["leader_epoch"])
        isr = tuple(int(broker) for broker in record["isr"])
        return PartitionState(leader, leader_epoch, int(record["controller_epoch"]), isr)
    except (KeyError, TypeError, ValueError) as error:
        raise BadRecord(f"{where}: not a partition's state: {error!r}") from error


def encode_controller(broker_id: int, *, timestamp_ms: int) -> bytes:
    return _dump({"version": 1, "brokerid": broker_id, "timestamp": str(timestamp_ms)})


def decode_controller(data: bytes) -> int:
    """The id of the broker that is the controller; raises `BadRecord`."""
    record = _load(data, CONTROLLER)
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


def _dump(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode()


def _load(data: bytes, where: str) -> dict[str, Any]:
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"{where}: not JSON: {error}") from error
    if not isinstance(record, dict):
        raise BadRecord(f"{where}: not a JSON object")
    return record
