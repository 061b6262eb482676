"""More members: how reads and writes go with 1 to 7 voters, and with observers beside three voters.

Owns the ensembles. All members and the load share the cores of one machine, so that figures beyond as many
members as there are cores say what a request costs all of them together, not how an ensemble of machines
would scale: `CPU of all members` is what to compare.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.figures import Figure
from benchmarks.flood import CONNECTIONS, flood
from benchmarks.scale_servers import Flavour, servers
from benchmarks.wire import CREATE, GET, SET, Wire, create, read, set_data

ENSEMBLES: Final = ((1, 0), (3, 0), (5, 0), (7, 0), (3, 2), (3, 4))
"""voters, observers"""
DATA: Final = bytes(100)


def measure(flavour: Flavour, directory: Path, seconds: float, members_max: int) -> Iterator[Figure]:
    """Of the ensembles that have no more than `members_max` members."""
    for voters, observers in ENSEMBLES:
        if voters + observers > members_max:
            continue
        name = f"{voters} + {observers} observers" if observers else f"{voters}"
        count, home = voters + observers, directory / f"{voters}-{observers}"
        with servers(flavour, count, home, observers=observers) as members:
            for member in members:
                member.wait()
            paths = [f"/flood-{number}" for number in range(max(CONNECTIONS, count))]
            with Wire(members[0].address) as wire:
                for path in paths:
                    wire.ask(CREATE, create(path, DATA))
            addresses = [member.address for member in members]
            reads = [(GET, read(path)) for path in paths]
            writes = [(SET, set_data(path, DATA)) for path in paths]
            for kind, requests in (("reads", reads), ("writes", writes)):
                flood(addresses, requests, seconds / 3)  # until all is warm
                cpu, began = sum(member.cpu_seconds() for member in members), time.monotonic()
                rate = flood(addresses, requests, seconds)
                passed = time.monotonic() - began
                spent = sum(member.cpu_seconds() for member in members) - cpu
                yield Figure(f"{name}: {kind}", "/s", rate)
                yield Figure(f"{name}: CPU of all members", f"us/{kind[:-1]}", spent / (rate * passed) * 1e6)
