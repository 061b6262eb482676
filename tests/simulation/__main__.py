"""Run many seeds on all cores, or replay one with its trace.

Synopsis::

    python -m tests.simulation --seeds 1000
    python -m tests.simulation --seed 7 --trace

Exit status 1 if a seed fails; the first to fail is printed with the command that replays it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

from tests.simulation.cluster import Cluster


class Outcome(NamedTuple):
    seed: int
    ticks: float
    proposals: int
    epochs: int
    messages: Counter[str]
    failure: str | None


def play(seed: int) -> Outcome:
    cluster = Cluster(seed)
    failure = None
    try:
        cluster.run()
    except Exception as error:
        at = traceback.extract_tb(error.__traceback__)[-1]
        failure = f"{type(error).__name__}: {error} ({os.path.basename(at.filename)}:{at.lineno})"
    seen = cluster.chronicle
    return Outcome(seed, cluster.now, len(seen.committed), len(seen.epochs), seen.messages, failure)


def outcomes(seeds: Iterable[int], processes: int | None = None) -> Iterator[Outcome]:
    """In the order of the seeds."""
    if processes == 1:
        yield from map(play, seeds)
        return
    with ProcessPoolExecutor(processes) as pool:
        try:
            yield from pool.map(play, seeds, chunksize=4)
        finally:
            pool.shutdown(cancel_futures=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=1000, help="how many (default 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default 0)")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--processes", type=int, help="how many (default: one for each core)")
    parser.add_argument("--trace", action="store_true", help="print what happens (with --seed)")
    parser.add_argument("--keep-going", action="store_true", help="do not end with the first failure")
    arguments = parser.parse_args(argv)
    if arguments.seed is not None:
        Cluster(arguments.seed, print if arguments.trace else None).run()
        print(f"seed {arguments.seed}: nothing wrong")
        return 0
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    return run_many(seeds, arguments.processes, keep_going=arguments.keep_going)


def run_many(seeds: range, processes: int | None, *, keep_going: bool) -> int:
    began = time.monotonic()
    done, failures, ticks, proposals, epochs = 0, 0, 0.0, 0, 0
    messages: Counter[str] = Counter()
    for outcome in outcomes(seeds, processes):
        done += 1
        ticks += outcome.ticks
        proposals += outcome.proposals
        epochs += outcome.epochs
        messages += outcome.messages
        if outcome.failure is not None:
            failures += 1
            print(f"seed {outcome.seed} FAILED: {outcome.failure}")
            print(f"  replay: python -m tests.simulation --seed {outcome.seed} --trace", flush=True)
            if not keep_going:
                break
        if done % 100 == 0:
            print(f"{done} seeds, {time.monotonic() - began:.0f} s", flush=True)
    print("sent:", ", ".join(f"{count} {kind}" for kind, count in messages.most_common()))
    print(
        f"{done} seeds, {failures} failed; {ticks:.0f} ticks ({ticks * 0.05 / 3600:.1f} h at 50 ms each), "
        f"{epochs} epochs, {proposals} proposals committed; {time.monotonic() - began:.0f} s"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
