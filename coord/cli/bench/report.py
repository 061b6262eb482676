"""What a load has measured, as a person and as a script read it: numbers and a histogram.

Owns the shapes of text and JSON. Pure; does not know the terminal: who makes a report says whether it may
have more than ASCII.

Rules that hold here:

- A report fits into 80 columns. Rows of the histogram are as fine as `ROWS_MAX` of them allow, with limits
  that are round and grow by a factor; bars are proportional to counts, and whatever has a count has a bar.
- If the load generator may have been what was slow, that is said.

Synopsis::

    Measured("get", tally, seconds=5.0, cpu=0.4).text()
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from coord.cli.bench.histogram import Histogram
from coord.cli.bench.tally import Count, Tally

PERCENTILES: Final = (("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9))
BUSY: Final = 0.9
"""Above this share of a core the generator may be what is slow."""

ROWS_MAX: Final = 18
BAR_COLUMNS: Final = 38
EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
SERIES: Final = ((10, 15, 20, 30, 50, 70), (10, 20, 50), (10, 30), (10,))
"""Limits of rows within a power of ten, in tenths; the finest that gives few enough rows is taken."""

HEADINGS: Final = ("ops/s", "min", *(name for name, _ in PERCENTILES), "max", "errors")


def duration(nanoseconds: float, *, ascii_only: bool = False) -> str:
    """Three digits and a unit: ``87.2 µs``, ``1.25 ms``, ``12.5 s``."""
    micro = "us" if ascii_only else "µs"
    for limit, unit, name in ((1e3, 1.0, "ns"), (999.5e3, 1e3, micro), (999.5e6, 1e6, "ms")):
        if nanoseconds < limit:
            return f"{_three_digits(nanoseconds / unit)} {name}"
    return f"{_three_digits(nanoseconds / 1e9)} s"


def _three_digits(number: float) -> str:
    if number == int(number) or number >= 99.95:
        return f"{number:.0f}"
    return f"{number:.2f}" if number < 9.995 else f"{number:.1f}"


@dataclass(frozen=True)
class Measured:
    """One operation's window of load: it took `seconds`, and `cpu` of a core.

    `backlog` requests were due (at a rate) and never sent. `cut_off`: it was ended early.
    """

    operation: str
    tally: Tally
    seconds: float
    cpu: float
    backlog: int = 0
    cut_off: bool = False
    ascii_only: bool = False

    @property
    def whole(self) -> Count:
        return self.tally.together()

    def rows(self) -> Iterator[tuple[str, Count]]:
        """The operation's, and those of what it is mixed of."""
        yield self.operation, self.whole
        if len(self.tally.names) > 1:
            yield from ((f"- {name}", count) for name, count in self._named())

    def _named(self) -> Iterator[tuple[str, Count]]:
        return zip(self.tally.names, self.tally.counts, strict=True)

    def text(self) -> str:
        return "\n".join(line for line, _ in self._lines())

    def drawing(self) -> Any:
        """With colours."""
        from rich.text import Text

        lines = [Text(line, style, no_wrap=True, overflow="crop") for line, style in self._lines()]
        for line in lines:
            line.highlight_regex(f"[{EIGHTHS[1:]}]+|#+", "cyan")
        return Text("\n").join(lines)

    def _lines(self) -> Iterator[tuple[str, str]]:
        """Each with its style on a terminal."""
        whole = self.whole
        ended = " (ended early)" if self.cut_off else ""
        replies = f"{whole.latencies.count:,} replies in {self.seconds:.2f} s{ended}"
        yield f"{self.operation}: {replies}; load generator: {self.cpu:.0%} of a core", "bold"
        if self.cpu > BUSY:
            yield "  the load generator may be what is slow here: the server may be faster", "yellow"
        yield heading(), ""
        for name, count in self.rows():
            yield row(name, count, self.seconds, ascii_only=self.ascii_only), ""
        for kind, times in whole.errors.most_common():
            yield f"  {times:,} x {kind}", "red"
        if self.backlog:
            yield f"  {self.backlog:,} requests were due, and never sent: the rate is too high", "red"
        for line in drawn(whole.latencies, ascii_only=self.ascii_only):
            yield line, ""
        yield "", ""

    def json(self) -> dict[str, Any]:
        """Durations in microseconds; a histogram's entries are [least, greatest, count]."""
        found = {
            "operation": self.operation,
            "seconds": round(self.seconds, 6),
            "ended_early": self.cut_off,
            "generator_cpu": round(self.cpu, 3),
            **self._count_json(self.whole),
            "never_sent": self.backlog,
            "histogram_us": [
                [one.least / 1e3, one.greatest / 1e3, one.times] for one in self.whole.latencies.buckets()
            ],
        }
        if len(self.tally.names) > 1:
            found["of"] = {name: self._count_json(count) for name, count in self._named()}
        return found

    def _count_json(self, count: Count) -> dict[str, Any]:
        latencies = count.latencies
        return {
            "replies": latencies.count,
            "ops_per_s": round(_rate(latencies, self.seconds), 1),
            "latency_us": {
                "min": latencies.least / 1e3,
                "mean": round(latencies.mean / 1e3, 3),
                **{name: latencies.percentile(percent) / 1e3 for name, percent in PERCENTILES},
                "max": latencies.most / 1e3,
            },
            "errors": dict(count.errors),
        }


@dataclass(frozen=True)
class Summary:
    """Several operations, a row each."""

    measured: Sequence[Measured]

    def text(self) -> str:
        lines = [
            row(name, count, one.seconds, ascii_only=one.ascii_only)
            for one in self.measured
            for name, count in one.rows()
        ]
        return "\n".join([heading(), *lines])

    def json(self) -> dict[str, Any]:
        rates = {one.operation: round(_rate(one.whole.latencies, one.seconds), 1) for one in self.measured}
        return {"summary_ops_per_s": rates}


def heading() -> str:
    return " " * 9 + _cells(HEADINGS)


def row(name: str, count: Count, seconds: float, *, ascii_only: bool = False) -> str:
    """A row below the `heading`."""
    found = count.latencies
    values = (found.least, *(found.percentile(percent) for _, percent in PERCENTILES), found.most)
    times = [duration(one, ascii_only=ascii_only) if found.count else "-" for one in values]
    return f"{name:9}" + _cells([f"{_rate(found, seconds):,.0f}", *times, f"{count.failed:,}"])


def _cells(texts: Sequence[str]) -> str:
    return "".join(f"{text:>{8 if at == len(texts) - 1 else 9}}" for at, text in enumerate(texts))


def _rate(latencies: Histogram, seconds: float) -> float:
    return latencies.count / seconds if seconds > 0 else 0.0


# -- the histogram drawn ------------------------------------------------------------------------------


def limits(least: int, most: int) -> list[int]:
    """The rows' lower limits, and the last one's upper one: round durations of which the first is not above
    `least` (unless that is below 10 ns), and the last above `most`."""
    found: list[int] = []
    for series in SERIES:
        everything = [tenths * 10**power // 10 for power in range(1, 16) for tenths in series]
        first = max(0, bisect_right(everything, max(least, 10)) - 1)
        last = bisect_right(everything, max(most, 10))
        found = everything[first : last + 1]
        if len(found) - 1 <= ROWS_MAX:
            break
    return found


def drawn(latencies: Histogram, *, ascii_only: bool = False) -> list[str]:
    """The histogram's rows; none if nothing was recorded."""
    if not latencies.count:
        return []
    edges = limits(latencies.least, latencies.most)
    counts = [0] * (len(edges) - 1)
    for bucket in latencies.buckets():
        place = bisect_right(edges, max(bucket.least, edges[0])) - 1
        counts[min(place, len(counts) - 1)] += bucket.times
    fullest = max(counts)
    names = [f"{duration(edge, ascii_only=ascii_only):>8}" for edge in edges]
    bars = [bar(count / fullest, ascii_only=ascii_only) for count in counts]
    return [
        f"{low} -{high}  {drawn:{BAR_COLUMNS}} {count:>12,} {count / latencies.count:>7.2%}"
        for low, high, drawn, count in zip(names, names[1:], bars, counts, strict=False)
    ]


def bar(share: float, columns: int = BAR_COLUMNS, *, ascii_only: bool = False) -> str:
    """So long for a share from 0 to 1; at least a sliver for whatever is more than nothing."""
    if share <= 0:
        return ""
    if ascii_only:
        return "#" * max(1, round(share * columns))
    whole, eighths = divmod(max(1, round(share * columns * 8)), 8)
    return EIGHTHS[8] * whole + (EIGHTHS[eighths] if eighths else "")
