"""Run many seeds on all cores, or replay one with its trace.

Each seed is played twice: by bare peers (`cluster`), and by whole members with clients (`whole.ensemble`).

Synopsis::

    python -m tests.simulation --seeds 1000
    python -m tests.simulation --part members --seed 7 --trace

Exit status 1 if a seed fails; the first to fail is printed with the command that replays it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Final, NamedTuple

from tests.simulation.cluster import Cluster
from tests.simulation.whole.ensemble import Ensemble

PARTS: Final[dict[str, Callable[[int, Callable[[str], None] | None], Cluster]]] = {
    "peers": Cluster,
    "members": Ensemble,
}
HOURS_PER_TICK = 0.05 / 3600


class Outcome(NamedTuple):
    part: str
    seed: int
    ticks: float
    counts: Counter[str]
    """what happened: epochs, batches committed, and what clients did"""
    messages: Counter[str]
    faults: Counter[str]
    failure: str | None

    @property
    def replay(self) -> str:
        return f"python -m tests.simulation --part {self.part} --seed {self.seed} --trace"


def play(part: str, seed: int) -> Outcome:
    cluster = PARTS[part](seed, None)
    failure = None
    try:
        cluster.run()
    except Exception as error:
        at = traceback.extract_tb(error.__traceback__)[-1]
        failure = f"{type(error).__name__}: {error} ({os.path.basename(at.filename)}:{at.lineno})"
    return Outcome(
        part, seed, cluster.now, cluster.totals(), cluster.chronicle.messages, cluster.injected, failure
    )


def outcomes(part: str, seeds: Iterable[int], processes: int | None = None) -> Iterator[Outcome]:
    """In the order of the seeds."""
    seeds = list(seeds)
    if processes == 1:
        yield from (play(part, seed) for seed in seeds)
        return
    with ProcessPoolExecutor(processes) as pool:
        try:
            yield from pool.map(play, [part] * len(seeds), seeds, chunksize=4)
        finally:
            pool.shutdown(cancel_futures=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__.split("\n")[0])
    parser.add_argument("--part", choices=PARTS, help="only this one")
    parser.add_argument("--seeds", type=int, default=1000, help="how many (default 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default 0)")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--processes", type=int, help="how many (default: one for each core)")
    parser.add_argument("--trace", action="store_true", help="print what happens (with --seed)")
    parser.add_argument("--keep-going", action="store_true", help="do not end with the first failure")
    arguments = parser.parse_args(argv)
    parts = [arguments.part] if arguments.part else list(PARTS)
    if arguments.seed is not None:
        for part in parts:
            PARTS[part](arguments.seed, print if arguments.trace else None).run()
            print(f"{part}, seed {arguments.seed}: nothing wrong")
        return 0
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    # Every part is run, whatever became of the one before.
    failed = [run_many(part, seeds, arguments.processes, keep_going=arguments.keep_going) for part in parts]
    return 1 if any(failed) else 0


def run_many(part: str, seeds: range, processes: int | None, *, keep_going: bool) -> int:
    """How many failed."""
    began = time.monotonic()
    done, failures, ticks = 0, 0, 0.0
    counts: Counter[str] = Counter()
    messages: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    for outcome in outcomes(part, seeds, processes):
        done += 1
        ticks += outcome.ticks
        counts += outcome.counts
        messages += outcome.messages
        faults += outcome.faults
        if outcome.failure is not None:
            failures += 1
            print(f"{part}, seed {outcome.seed} FAILED: {outcome.failure}")
            print(f"  replay: {outcome.replay}", flush=True)
            if not keep_going:
                break
        if done % 100 == 0:
            print(f"{part}: {done} seeds, {time.monotonic() - began:.0f} s", flush=True)
    print("  sent:", _listed(messages))
    print("  faults:", _listed(faults))
    print("  done:", _listed(counts))
    print(
        f"{part}: {done} seeds, {failures} failed; {ticks * HOURS_PER_TICK:.1f} hours simulated "
        f"in {time.monotonic() - began:.0f} s",
        flush=True,
    )
    return failures


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counts.most_common())


if __name__ == "__main__":
    sys.exit(main())
