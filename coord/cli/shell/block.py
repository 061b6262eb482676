"""stand-in until merged

x
"""

from __future__ import annotations

from collections.abc import Sequence

from coord import Client
from coord.cli import commands
from coord.cli.jobs import Job, Output
from coord.cli.results import Said


async def multi(zk: Client, out: Output, jobs: Sequence[Job]) -> None:
    transaction = zk.transaction()
    for job in jobs:
        if job.command is commands.create:
            transaction.create(*job.arguments)
        elif job.command is commands.delete:
            transaction.delete(**job.options)
    for result in await transaction.commit():
        out(Said(str(result)))
