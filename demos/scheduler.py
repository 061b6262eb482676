"""Three schedulers, one leads; its late write, after a freeze, is refused.

The leader runs a job again and again, and writes each result to a store of its own: an SQLite file. It is
frozen for longer than its session lasts, so another one takes over; woken, it does what no client can keep a
thread from: it writes the result that it was about to write. The store refuses it, because it compares the
fencing tokens.

Synopsis::

    coord demo scheduler                     # or: python -m demos.scheduler
"""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

import trio

import coord
from coord.testing import embedded_server
from demos._stage import Stage, perform, say
from recipes import Election, Grant

SCHEDULERS: Final = ("anna", "bert", "carl")
SESSION_SECONDS: Final = 1.5
JOB_SECONDS: Final = 0.8


# -- the store ------------------------------------------------------------------------------------------

SCHEMA: Final = """
CREATE TABLE fence (newest INTEGER NOT NULL);
INSERT INTO fence VALUES (0);
CREATE TABLE results (job INTEGER, who TEXT, token INTEGER);
"""
"""It knows nothing of elections, but for one number: the newest token that it has seen."""


class StaleToken(Exception):
    """The write of one who led once, whether it knows already that this is over or not."""


def write(store: Path, job: int, who: str, token: int) -> None:
    """Add a result. The tokens are compared in the transaction that writes: that is all there is to it."""
    with closing(sqlite3.connect(store, isolation_level="IMMEDIATE")) as db, db:
        db.execute("UPDATE fence SET newest = max(newest, ?)", (token,))
        (newest,) = db.execute("SELECT newest FROM fence").fetchone()
        if token < newest:
            raise StaleToken(f"its token {token:#x} is older than {newest:#x}")
        db.execute("INSERT INTO results VALUES (?, ?, ?)", (job, who, token))


def results(store: Path) -> list[Result]:
    """In the order in which they were written."""
    with closing(sqlite3.connect(store)) as db:
        return [Result(*row) for row in db.execute("SELECT job, who, token FROM results ORDER BY rowid")]


class Result(NamedTuple):
    job: int
    who: str
    token: int


# -- a scheduler: a process of its own ------------------------------------------------------------------


async def scheduler(name: str, server: str, store: str) -> None:
    async def lead(term: Grant) -> None:
        say(f"leads, with the token {term.token:#x}")
        try:
            while True:
                term.ensure()  # raises if the term is over: no job is begun in vain
                await do_next(term)
        finally:
            say("leads no more")

    async def do_next(term: Grant) -> None:
        job = len(results(Path(store))) + 1
        say(f"job {job} begins")
        try:
            # A term that is over cancels this task, and no thread: it goes on, and writes.
            await trio.to_thread.run_sync(run, Path(store), job, name, term.token)
            say(f"job {job} is done")
        except StaleToken as error:
            say(f"job {job} was refused by the store: {error}")

    async with coord.connect(server, timeout=SESSION_SECONDS) as zk:
        say("stands for election")
        await Election(zk, "/scheduler/leader", data=name.encode()).run(lead)


def run(store: Path, job: int, who: str, token: int) -> None:
    """The job, in a thread: it works, and writes what has come of it."""
    time.sleep(JOB_SECONDS)
    write(store, job, who, token)


# -- the story ------------------------------------------------------------------------------------------


async def play(stage: Stage) -> None:
    store = stage.directory / "results.db"
    with closing(sqlite3.connect(store)) as db:
        db.executescript(SCHEMA)
    async with embedded_server() as server:
        stage.step("three schedulers stand for election; the leader runs the jobs")
        for name in SCHEDULERS:
            await stage.start(name, server.connect_string, str(store))
        old = (await stage.hears("job 1 is done")).who
        await stage.hears("job 2 begins")
        stage.prove(f"job 1 is {old}'s, and nobody else leads", len(stage.heard("leads")) == 1)

        stage.step(f"{old} is frozen in the middle of job 2, for longer than its session lasts")
        await trio.sleep(JOB_SECONDS / 4)
        stage.freeze(old)
        new = (await stage.hears("job 2 is done")).who
        first, second, *_ = results(store)
        stage.prove(
            f"{new} leads, has done job 2 again, and has a higher token than {old}",
            first.who == old != second.who == new and first.token < second.token,
        )

        stage.step(f"{old} wakes: it still writes what it was about to write")
        stage.wake(old)
        await stage.hears("job 2 was refused", old)
        await stage.hears("leads no more", old)
        await stage.hears("job . is done", new)
        written = results(store)
        stage.prove(
            f"the late write was refused; all since job 2 is {new}'s",
            [result.who for result in written] == [old, *[new] * (len(written) - 1)],
        )
        stage.prove(
            "each job is there once, and no token is older than one before",
            [result.job for result in written] == list(range(1, len(written) + 1))
            and written == sorted(written, key=lambda result: result.token),
        )


def main(argv: Sequence[str] | None = None) -> int:
    return perform("scheduler", __doc__, play, scheduler, argv)


if __name__ == "__main__":
    sys.exit(main())
