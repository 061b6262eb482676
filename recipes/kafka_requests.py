"""What is asked of Kafka's controller by way of znodes: their paths, and the JSON in them.

Owns the bytes of requests: of operators (below `/admin`), of partitions' leaders (`/isr_change_notification`)
and of brokers that want to leave. Knows no server; what is done about them is `controller`'s business.

Rules that hold here:

- Kafka's own are written as Kafka's tools do, in version 1. Kafka's brokers ask to leave by a request of
  their own protocol, which coord has not; `/admin/controlled_shutdown` stands in for it, and Kafka's
  readers do not look there.
- What cannot be read is `BadRecord`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from recipes.kafka import BadRecord, Replicas, TopicPartition, dump, load

DELETE_TOPICS: Final = "/admin/delete_topics"
REASSIGN_PARTITIONS: Final = "/admin/reassign_partitions"
PREFERRED_ELECTION: Final = "/admin/preferred_replica_election"
ISR_CHANGES: Final = "/isr_change_notification"
ISR_CHANGE: Final = f"{ISR_CHANGES}/isr_change_"
TOPIC_CONFIGS: Final = "/config/topics"
SHUTDOWNS: Final = "/admin/controlled_shutdown"


def marker_path(topic: str) -> str:
    """The znode that says a topic shall be deleted."""
    return f"{DELETE_TOPICS}/{topic}"


def encode_reassignment(targets: Mapping[TopicPartition, Iterable[int]]) -> bytes:
    """The replicas that partitions shall have."""
    return _partitions({"replicas": list(targets[which])} | _named(which) for which in sorted(targets))


def decode_reassignment(data: bytes) -> dict[TopicPartition, Replicas]:
    """The replicas that partitions shall have; raises `BadRecord`."""
    try:
        return {
            _which(one): tuple(int(broker) for broker in one["replicas"])
            for one in load(data, REASSIGN_PARTITIONS)["partitions"]
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadRecord(f"{REASSIGN_PARTITIONS}: not a reassignment: {error!r}") from error


def encode_partitions(partitions: Collection[TopicPartition]) -> bytes:
    """Partitions whose preferred leaders shall lead, or whose ISR has changed."""
    return _partitions(_named(which) for which in sorted(partitions))


def decode_partitions(where: str, data: bytes) -> frozenset[TopicPartition]:
    """Partitions whose preferred leaders shall lead, or whose ISR has changed; raises `BadRecord`."""
    try:
        return frozenset(_which(one) for one in load(data, where)["partitions"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadRecord(f"{where}: not a list of partitions: {error!r}") from error


def _partitions(records: Iterable[Mapping[str, Any]]) -> bytes:
    return dump({"version": 1, "partitions": list(records)})


def _named(which: TopicPartition) -> dict[str, Any]:
    return {"topic": which.topic, "partition": which.partition}


def _which(record: Mapping[str, Any]) -> TopicPartition:
    return TopicPartition(str(record["topic"]), int(record["partition"]))


# -- controlled shutdown --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Leave:
    """Broker `broker_id`, registered with `broker_epoch`, wants to leave; a controller grants it."""

    broker_id: int
    broker_epoch: int
    granted_by: int | None = None
    """the controller's epoch; None until it is granted"""

    @property
    def path(self) -> str:
        """Of its own for each registration: a request of an earlier one is never taken for it."""
        return f"{SHUTDOWNS}/{self.broker_id}-{self.broker_epoch}"


def encode_leave(leave: Leave) -> bytes:
    record = {"version": 1, "brokerid": leave.broker_id, "broker_epoch": leave.broker_epoch}
    return dump(record if leave.granted_by is None else record | {"controller_epoch": leave.granted_by})


def decode_leave(where: str, data: bytes) -> Leave:
    """Raises `BadRecord`."""
    record = load(data, where)
    try:
        granted = record.get("controller_epoch")
        return Leave(
            int(record["brokerid"]), int(record["broker_epoch"]), None if granted is None else int(granted)
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadRecord(f"{where}: not a request to leave: {error!r}") from error
