"""What contenders did, as they and the store have it; what must be true of it, and how it is told.

What must hold (`broken_promises` says what does not):

- the counter is the number of increments: none was lost because two were at it;
- what was acknowledged to somebody did happen; what happened without it being acknowledged is rare: a process
  was killed, or its lock lost, in between;
- a token is one holder's, once;
- nobody who uses coord comes with an old token: the block is cancelled before others can be granted the lock.
  One of these is excused, if the process had just been woken: it may have been stopped between trio's last
  look at its cancellation and the call that sends.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.recipes.soak.contender import Order
from tests.recipes.soak.store import Counter, Entry


@dataclass
class Record:
    """One contender's, over all its lives."""

    order: Order
    tally: Tally[str] = field(default_factory=Tally)
    """of the lines that it wrote, by their first words; and ``killed``, ``stopped``"""
    acknowledged: list[int] = field(default_factory=list)
    woken: list[float] = field(default_factory=list)
    """when, each time, after it had been stopped"""

    def take(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        self.tally[word] += 1
        if word == "acknowledged":
            self.acknowledged.append(int(rest))


def broken_promises(
    records: Sequence[Record], counters: Mapping[str, Counter], timeout: float
) -> Iterator[str]:
    """`timeout` is the sessions', in seconds."""
    for path, counter in counters.items():
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
            if missing := [one for one in record.acknowledged if (record.order.who, one) not in written]:
                yield f"{record.order.who}: acknowledged, but the store knows nothing of it: {missing}"
    woken, others = _stale(records, counters, timeout)
    if others or len(woken) > 1:
        yield f"coord's, with old tokens: {others}; after they were woken: {woken}"


def _stale(
    records: Sequence[Record], counters: Mapping[str, Counter], timeout: float
) -> tuple[list[Entry], list[Entry]]:
    """Refusals of those who use coord: after they were woken, and others."""
    ours = {record.order.who: record for record in records if record.order.library == "coord"}
    stale = [entry for counter in counters.values() for entry in counter.refusals if entry.who in ours]
    woken = [one for one in stale if any(0 <= one.at - then < timeout for then in ours[one.who].woken)]
    return woken, [entry for entry in stale if entry not in woken]


def _at(path: str, records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record.order.path == path]


# -- the report -----------------------------------------------------------------------------------------


def progress(counters: Mapping[str, Counter]) -> str:
    return ", ".join(f"{path}: {len(one.grants)} grants" for path, one in sorted(counters.items()))


def report(records: Sequence[Record], counters: Mapping[str, Counter], began: float) -> str:
    """A row for each library, a line for each counter; `began` is when the trouble did."""
    rows = [f"{'':8}{'grants':>8}{'refused':>9}{'lost':>7}{'renewed':>9}{'killed':>8}{'stopped':>9}"]
    rows += [_row(library, records, counters) for library in sorted({one.order.library for one in records})]
    return "\n".join(rows + [_line(path, records, one, began) for path, one in sorted(counters.items())])


def _row(library: str, records: Sequence[Record], counters: Mapping[str, Counter]) -> str:
    ours = {one.order.who: one for one in records if one.order.library == library}
    tally = sum((one.tally for one in ours.values()), Tally[str]())
    grants = sum(entry.who in ours for counter in counters.values() for entry in counter.grants)
    refused = sum(entry.who in ours for counter in counters.values() for entry in counter.refusals)
    return (
        f"{library:8}{grants:8}{refused:9}{tally['lost']:7}{tally['renewed']:9}"
        f"{tally['killed']:8}{tally['stopped']:9}"
    )


def _line(path: str, records: Sequence[Record], counter: Counter, began: float) -> str:
    acknowledged = sum(len(one.acknowledged) for one in _at(path, records))
    library = {one.order.who: one.order.library for one in records}
    over = sum(library[one.who] != library[other.who] for one, other in pairwise(counter.grants))
    times = [entry.at for entry in counter.grants if entry.at >= began]
    longest = max((later - sooner for sooner, later in pairwise(times)), default=0.0)
    return (
        f"{path}: counter {counter.value} = {acknowledged} acknowledged + {counter.value - acknowledged} of "
        f"unknown outcome; {over} hand-overs between libraries; longest without a grant {longest:.1f} s"
    )
