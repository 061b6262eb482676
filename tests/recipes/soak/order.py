"""What a contender is told to do, and how it tells what came of it.

Synopsis::

    order = Order(
        "kazoo-3", "kazoo", Work.LOCK, KAZOO_PATH, hosts, timeout=2.0, store=40123, directory="/tmp/x"
    )
    subprocess.Popen(order.command())
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Self


class Work(StrEnum):
    LOCK = "lock"
    PERMIT = "permit"
    QUEUE = "queue"


KAZOO_PATH = "/soak/kazoo"
CURATOR_PATH = "/soak/curator"
PERMITS_PATH = "/soak/permits"
QUEUE_PATH = "/soak/queue"
CONSUMED_PATH = "/soak/consumed"
"""what users of coord took out of the queue, each by its entry's name"""
PERMITS = 2


@dataclass(frozen=True)
class Order:
    """`timeout` is the session's, in seconds; `store` a port; `directory` a place for files."""

    who: str
    library: str
    work: Work
    path: str
    hosts: str
    timeout: float
    store: int
    directory: str

    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.recipes.soak.contender", json.dumps(asdict(self))]

    @classmethod
    def parse(cls, text: str) -> Self:
        fields = json.loads(text)
        return cls(**fields | {"work": Work(fields["work"])})


def say(*words: object) -> None:
    """One line to whoever started us; the first word is counted."""
    print(*words, flush=True)
