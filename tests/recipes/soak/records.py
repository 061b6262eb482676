"""What contenders did, as they and the store have it; what must be true of it, and how it is told.

What must hold (`broken_promises` says what does not):

- a counter is the number of increments: none was lost because two were at it;
- what was acknowledged to somebody did happen; what happened without it being acknowledged is rare: a process
  was killed, or its lock lost, in between;
- a token is one holder's, once;
- nobody who uses coord comes with an old token: the block is cancelled before others can be granted the lock.
  One of these is excused, if the process had just been woken: it may have been stopped between trio's last
  look at its cancellation and the call that sends;
- of those who use coord there are never more in a room than there are permits. (Somebody who is stopped in
  there does nothing, and its permit is somebody else's in time.)
- an item that was put by coord's users is taken out of the queue once, and never lost.
"""

from __future__ import annotations

import math
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.recipes.soak.order import PERMITS, Order, Work
from tests.recipes.soak.store import Counter, Entry, Room, Store

WAKING_SECONDS = 1.0
"""What one needs, after it was woken, to find out that it has lost something."""


@dataclass
class Record:
    """One contender's, over all its lives."""

    order: Order
    said: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """the lines that it wrote, by their first words"""
    kills: int = 0
    stops: list[tuple[float, float]] = field(default_factory=list)
    """from when, until when"""

    @property
    def rounds(self) -> int:
        return len(self.said["acknowledged"])

    def take(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        self.said[word].append(rest)

    def dazed(self, at: float) -> bool:
        """Was it stopped then, or just before?"""
        return any(since <= at <= until + WAKING_SECONDS for since, until in self.stops)


@dataclass(frozen=True)
class Findings:
    """What is in the znodes, after all."""

    consumed: list[str]
    """the items that users of coord took out of the queue"""
    remaining: list[str]
    """those that are still in there"""


def broken_promises(records: Sequence[Record], store: Store, findings: Findings) -> Iterator[str]:
    by_name = {record.order.who: record for record in records}
    for path, counter in store.counters.items():
        yield from _broken_counter(path, counter, records)
    stale = [
        entry
        for counter in store.counters.values()
        for entry in counter.refusals
        if by_name[entry.who].order.library == "coord"
    ]
    woken = [entry for entry in stale if by_name[entry.who].dazed(entry.at)]
    if len(woken) > 1 or len(stale) > len(woken):
        yield f"coord's, with old tokens: {stale}, of whom had just been woken: {woken}"
    for path, room in store.rooms.items():
        for at, inside in room.meetings:
            ours = [who for who in inside if by_name[who].order.library == "coord"]
            if len([who for who in ours if not by_name[who].dazed(at)]) > PERMITS:
                yield f"{path}: {ours} at the same time"
    yield from _broken_queue(records, findings)


def _broken_counter(path: str, counter: Counter, records: Sequence[Record]) -> Iterator[str]:
    if counter.value != len(counter.writes):
        yield f"{path}: {len(counter.writes)} increments, but the counter is {counter.value}"
    tokens = Tally(entry.token for entry in counter.writes)
    if twice := [token for token, times in tokens.items() if times > 1]:
        yield f"{path}: tokens with several increments: {twice}"
    holders = {entry.token: entry.who for entry in counter.grants}
    if strange := [one for one in counter.writes if holders[one.token] != one.who]:
        yield f"{path}: written with somebody else's token: {strange}"
    written = {(entry.who, entry.token) for entry in counter.writes}
    for record in _at(path, records):
        who, tokens_of = record.order.who, map(int, record.said["acknowledged"])
        if missing := [token for token in tokens_of if (who, token) not in written]:
            yield f"{who}: acknowledged, but the store knows nothing of it: {missing}"


def _broken_queue(records: Sequence[Record], findings: Findings) -> Iterator[str]:
    put = {text for one in records if one.order.library == "coord" for text in one.said["put"]}
    took = Tally(findings.consumed + findings.remaining)
    took.update(text for one in records for text in one.said["took"])
    if twice := [text for text in put if took[text] > 1]:
        yield f"taken out of the queue more than once: {twice}"
    perhaps = {text for one in records for text in one.said["tries"]}
    if lost := [text for text in put if not took[text] and text not in perhaps]:
        yield f"put into the queue, and neither taken nor there: {lost}"


def _at(path: str, records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record.order.path == path]


# -- the report -----------------------------------------------------------------------------------------


def progress(records: Sequence[Record]) -> str:
    paths = sorted({record.order.path for record in records})
    return ", ".join(f"{path}: {sum(one.rounds for one in _at(path, records))}" for path in paths)


def report(records: Sequence[Record], store: Store, findings: Findings, began: float) -> str:
    """A row for each library, a line for each path; `began` is when the trouble did."""
    rows = [f"{'':8}{'rounds':>8}{'refused':>9}{'lost':>7}{'renewed':>9}{'killed':>8}{'stopped':>9}"]
    rows += [_row(library, records, store) for library in sorted({one.order.library for one in records})]
    rows += [_counter_line(path, one, records, began) for path, one in sorted(store.counters.items())]
    rows += [_room_line(path, one, records, began) for path, one in sorted(store.rooms.items())]
    if any(record.order.work is Work.QUEUE for record in records):
        rows.append(_queue_line(records, findings))
    return "\n".join(rows)


def _row(library: str, records: Sequence[Record], store: Store) -> str:
    ours = {one.order.who: one for one in records if one.order.library == library}
    rounds, lost, renewed = (
        sum(len(one.said[word]) for one in ours.values()) for word in ("acknowledged", "lost", "renewed")
    )
    refused = sum(entry.who in ours for counter in store.counters.values() for entry in counter.refusals)
    kills, stops = (sum(one.kills for one in ours.values()), sum(len(one.stops) for one in ours.values()))
    return f"{library:8}{rounds:8}{refused:9}{lost:7}{renewed:9}{kills:8}{stops:9}"


def _counter_line(path: str, counter: Counter, records: Sequence[Record], began: float) -> str:
    acknowledged = sum(record.rounds for record in _at(path, records))
    return (
        f"{path}: counter {counter.value} = {acknowledged} acknowledged + {counter.value - acknowledged} of "
        f"unknown outcome; {_grants(counter.grants, records, began)}"
    )


def _room_line(path: str, room: Room, records: Sequence[Record], began: float) -> str:
    most = max((len(inside) for _, inside in room.meetings), default=0)
    return f"{path}: at most {most} inside, stopped ones included; {_grants(room.grants, records, began)}"


def _grants(grants: Sequence[Entry], records: Sequence[Record], began: float) -> str:
    library = {one.order.who: one.order.library for one in records}
    over = sum(library[one.who] != library[other.who] for one, other in pairwise(grants))
    gaps = [(later.at - sooner.at, sooner) for sooner, later in pairwise(grants) if later.at >= began]
    longest, after = max(gaps, default=(math.inf, Entry(began, "nobody", 0)))
    return (
        f"{over} hand-overs between libraries, longest without a grant {longest:.1f} s, after that of "
        f"{after.who} at {after.at - began:.0f} s"
    )


def _queue_line(records: Sequence[Record], findings: Findings) -> str:
    put, took = (sum(len(one.said[word]) for one in records) for word in ("put", "took"))
    return (
        f"queue: coord's users put {put} items; {len(findings.consumed)} were taken with coord, {took} with "
        f"kazoo, {len(findings.remaining)} remain"
    )
