"""`coord brokers`: Kafka's brokers below a chroot, the controller, and partitions that nobody leads.

Owns what is printed. It reads, and creates nothing. The znodes are `recipes.brokers`' and `recipes.topics`'.

Synopsis::

    code = await brokers(zk, out, "/kafka")  # 1 if there is no controller, or a partition has no leader
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from coord import Client, NoNode
from coord.cli.jobs import Output
from recipes import Broker, BrokerRegistry, Topics, TopicsView
from recipes.kafka import CONTROLLER, CONTROLLER_EPOCH, BadRecord, decode_controller, decode_epoch

UNWELL = 1
LEADERLESS_SHOWN = 20


@dataclass(frozen=True)
class BrokerLine:
    broker: Broker
    leads: int
    is_controller: bool

    def text(self) -> str:
        info = self.broker.info
        where = (
            " ".join(one.endpoint for one in info.endpoints) if info else "its registration cannot be read"
        )
        rack = (info.rack if info else None) or "-"
        mark = "  controller" if self.is_controller else ""
        leads = f"leads {self.leads}"
        line = f"{self.broker.id:>4}  rack {rack:8}  {leads:11}  epoch {self.broker.epoch}  {where}{mark}"
        return "".join(one if one.isprintable() else "\N{MIDDLE DOT}" for one in line)

    def json(self) -> dict[str, Any]:
        info = self.broker.info
        return {
            "broker": self.broker.id,
            "rack": info.rack if info else None,
            "endpoints": [one.endpoint for one in info.endpoints] if info else None,
            "epoch": self.broker.epoch,
            "leads": self.leads,
            "controller": self.is_controller,
        }


@dataclass(frozen=True)
class Summary:
    brokers: int
    topics: TopicsView
    controller: int | None
    epoch: int | None

    def text(self) -> str:
        leaderless = self.topics.leaderless
        by = "no controller" if self.controller is None else f"controller {self.controller}"
        if self.epoch is not None:
            by += f" (epoch {self.epoch})"
        partitions = sum(len(record.replicas) for record in self.topics.topics.values())
        text = f"{self.brokers} brokers, {by}, {len(self.topics.topics)} topics, {partitions} partitions"
        if not leaderless:
            return text
        shown = ", ".join(map(str, leaderless[:LEADERLESS_SHOWN]))
        more = f" and {len(leaderless) - LEADERLESS_SHOWN} more" if len(leaderless) > LEADERLESS_SHOWN else ""
        return f"{text}\nwithout a leader: {shown}{more}"

    def json(self) -> dict[str, Any]:
        return {
            "controller": self.controller,
            "controller_epoch": self.epoch,
            "topics": len(self.topics.topics),
            "partitions": sum(len(record.replicas) for record in self.topics.topics.values()),
            "leaderless": [list(which) for which in self.topics.leaderless],
        }


async def brokers(zk: Client, out: Output, chroot: str = "") -> int:
    """Prints a line for each broker, and a summary; 1 if there is no controller, or no leader somewhere."""
    chroot = chroot.rstrip("/")
    there = await BrokerRegistry(zk, chroot).brokers()
    topics = await Topics(zk, chroot).view()
    controller = await _number(zk, chroot + CONTROLLER)
    for broker in there.values():
        out(BrokerLine(broker, len(topics.led_by(broker.id)), broker.id == controller))
    out(Summary(len(there), topics, controller, await _number(zk, chroot + CONTROLLER_EPOCH)))
    return 0 if controller is not None and not topics.leaderless else UNWELL


async def _number(zk: Client, path: str) -> int | None:
    decode = decode_epoch if path.endswith(CONTROLLER_EPOCH) else decode_controller
    try:
        data, _ = await zk.get(path)
        return decode(data)
    except (NoNode, BadRecord):
        return None
