"""Kill the server at random moments under load, again and again, and look for anything that was lost.

Synopsis::

    python -m tests.crash.kill_loop --kills 200 --seed 7

A real server process on a real disk; a few writers with sessions of their own pipeline writes to it. At a
random moment the process gets SIGKILL and is started again (now and then it is killed during recovery, too).
After each start every writer resumes its session and compares its subtree with what it knows (`model`), and:

- the server serves within `SERVING_SECONDS`, whatever it has to recover;
- sessions and their ephemerals go on;
- zxids rise, across restarts and connections.

``snapCount`` changes from start to start, so that log rolls, snapshots and purges happen under fire. The seed
decides writes and moments; only the machine's speed is not in it. Exit status 1 if anything was wrong.
``COORD_TEST_ZOOKEEPER=1`` puts Apache ZooKeeper to the same test.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from coord.wire.frames import pack_frame
from coord.wire.records import ConnectReply, Op, RequestHeader, StatReply
from tests.crash.model import KEYS, Model, Write, Writes, found
from tests.rawclient import Closed, RawClient
from tests.servers import Flavour, ServerProcess, chosen_flavour

SERVING_SECONDS = 2.0
"""For coord on an otherwise idle machine; a JVM is given longer."""
SNAP_COUNTS = (50, 300, 2_000, 100_000)
SESSION_MS = 40_000


class Wrong(Exception):
    """The server broke a promise."""


@dataclass
class Tally:
    """What all writers of one run share. Only `highest_zxid` is read by others; the lock guards it all."""

    acknowledged: int = 0
    undecided_done: int = 0
    undecided: int = 0
    highest_zxid: int = 0
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def acknowledge(self, zxid: int) -> None:
        with self.lock:
            self.acknowledged += 1
            self.highest_zxid = max(self.highest_zxid, zxid)


class Writer:
    """One session, one subtree, one connection at a time."""

    def __init__(self, number: int, seed: int, tally: Tally) -> None:
        self.rng = random.Random(seed * 1000 + number)
        self.writes = Writes(self.rng)
        self.tally = tally
        self.known = Model(f"/writer{number}")
        self.pending: list[Write] = []
        self.session: ConnectReply | None = None
        self.zk: RawClient | None = None
        self.zxid = 0

    def begin(self, port: int) -> None:
        """Opens the session and plants the subtree."""
        zk = self.zk = RawClient.open(port, SESSION_MS)
        self.session = zk.session
        root = self.known.root
        for path, flags in ((root, 0), (self.known.queue, 0), (f"{root}/alive", 1)):
            self._check(zk.create(path, flags=flags).err == 0, f"cannot create {path}")
        self.known.changes[root] = 2
        for number in range(KEYS):
            path = f"{root}/key{number}"
            self._check(zk.create(path).err == 0, f"cannot create {path}")
            self.known.create(path, b"")
        self.zxid = zk.last_zxid

    def resume(self, port: int) -> None:
        """After a restart: the session goes on, and the subtree is what it can be."""
        assert self.session is not None
        zk = self.zk = RawClient.open(port, SESSION_MS, self.session, self.zxid)
        self._check(zk.session.session_id == self.session.session_id, "the session is gone")
        root = self.known.root
        alive = zk.exists(f"{root}/alive")
        self._check(alive.err == 0, "the ephemeral is gone")
        owner = StatReply.from_bytes(alive.body).stat.ephemeral_owner
        self._check(owner == self.session.session_id, "the ephemeral has another owner")
        self._check(zk.last_zxid >= self.zxid, f"zxid {zk.last_zxid:#x} after {self.zxid:#x}")
        state, before = found(zk, root), self.known.copy()
        done = self.known.catch_up(state, self.pending)
        if done < 0:
            raise Wrong(self._explain(before, state))
        with self.tally.lock:
            self.tally.undecided += len(self.pending)
            self.tally.undecided_done += done
        self.pending = []

    def run(self) -> None:
        """Writes until the connection ends."""
        try:
            while True:
                self._write_some()
        except TimeoutError:
            self._report(Wrong("no answer for 10 s"))
        except (Closed, OSError):
            pass
        except Wrong as error:
            self._report(error)
        finally:
            assert self.zk is not None
            self.zk.close()

    def _write_some(self) -> None:
        assert self.zk is not None
        expected, frames = self.known.copy(), []
        for xid in range(1, self.rng.choice((1, 2, 8, 32)) + 1):
            write = self.writes.next(expected)
            write.change(expected)
            self.pending.append(write)
            frames.append(pack_frame(RequestHeader(xid, write.op).encode() + write.body))
        self.zk.send_bytes(b"".join(frames))
        for xid in range(1, len(frames) + 1):
            reply, write = self.zk.receive(), self.pending[0]
            self._check(reply.xid == xid, f"reply {reply.xid} instead of {xid}")
            self._check(write.fits(reply), f"{write.name}: {reply}")
            self._check(reply.zxid > self.zxid, f"zxid {reply.zxid:#x} after {self.zxid:#x}")
            self.zxid = reply.zxid
            write.change(self.known)
            del self.pending[0]
            self.tally.acknowledge(reply.zxid)

    def farewell(self) -> None:
        """Closes the session: the ephemeral goes with it."""
        assert self.zk is not None
        self._check(self.zk.ask(Op.CLOSE_SESSION).err == 0, "closeSession failed")
        self.zk.close()

    def _check(self, condition: bool, what: str) -> None:
        if not condition:
            raise Wrong(f"{self.known.root}: {what}")

    def _report(self, error: Wrong) -> None:
        with self.tally.lock:
            self.tally.wrong.append(str(error))

    def _explain(self, before: Model, state: Model) -> str:
        different = [
            f"  {path}: known {before.nodes.get(path)}, found {state.nodes.get(path)}"
            for path in sorted(before.nodes.keys() | state.nodes.keys())
            if before.nodes.get(path) != state.nodes.get(path)
        ]
        lines = [
            f"{self.known.root}: none of the {len(self.pending)} writes under way explains what is found",
            *different,
            f"  creates and deletes: known {dict(before.changes)}, found {dict(state.changes)}",
            "  under way: " + ", ".join(write.name for write in self.pending),
        ]
        return "\n".join(lines)


def in_parallel(functions: Sequence[Callable[[], None]], tally: Tally) -> None:
    """Calls each on a thread of its own and waits; what goes wrong is told to `tally`."""

    def call(function: Callable[[], None]) -> None:
        try:
            function()
        except (Wrong, Closed, OSError) as error:
            with tally.lock:
                tally.wrong.append(f"{type(error).__name__} {error}")

    threads = [threading.Thread(target=call, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class KillLoop:
    def __init__(self, directory: Path, seed: int, writers: int = 4, limit: float = SERVING_SECONDS) -> None:
        self.rng = random.Random(seed)
        self.server = ServerProcess(directory, {"autopurge.snapRetainCount": "3"})
        self.tally = Tally()
        self.writers = [Writer(number, seed, self.tally) for number in range(writers)]
        self.starts: list[float] = []
        self.kills = 0
        self.limit = limit if chosen_flavour() is Flavour.COORD else 20.0

    def run(self, kills: int, progress: Callable[[str], None]) -> None:
        """Raises `Wrong` at the first broken promise."""
        try:
            self._start()
            in_parallel([partial(writer.begin, self.server.port) for writer in self.writers], self.tally)
            while self.kills < kills:
                self._round()
                if self.kills % 10 == 0:
                    progress(self.summary())
            for writer in self.writers:
                writer.farewell()
        finally:
            self.server.kill()

    def _round(self) -> None:
        """Load, kill, start, check."""
        self._assert_all_well()
        before = self.tally.highest_zxid
        threads = [threading.Thread(target=writer.run) for writer in self.writers]
        for thread in threads:
            thread.start()
        time.sleep(self.rng.choice((0.02, 0.1, 0.4)) * self.rng.uniform(0.5, 1.5))
        self._kill()
        for thread in threads:
            thread.join()
        self._assert_all_well()
        while self.rng.random() < 0.15:
            self.server.spawn()
            time.sleep(self.rng.uniform(0.0, 0.5))
            self._kill()
        self._start()
        in_parallel([partial(writer.resume, self.server.port) for writer in self.writers], self.tally)
        self._assert_all_well()
        if self.tally.highest_zxid < before:
            raise Wrong(f"zxid {self.tally.highest_zxid:#x} after {before:#x}")

    def _start(self) -> None:
        self.server.config["snapCount"] = str(self.rng.choice(SNAP_COUNTS))
        self.server.start()
        self.starts.append(self.server.started_in)
        if self.server.started_in > self.limit:
            raise Wrong(f"serving only after {self.server.started_in:.2f} s")

    def _kill(self) -> None:
        status = self.server.kill()
        self.kills += 1
        if status != -9:
            raise Wrong(f"the server had ended by itself, status {status}:\n{self.server.tail()}")

    def _assert_all_well(self) -> None:
        if self.tally.wrong:
            raise Wrong("\n".join(self.tally.wrong))

    def summary(self) -> str:
        tally = self.tally
        return (
            f"{self.kills:4} kills: {tally.acknowledged} writes acknowledged, none lost; "
            f"{tally.undecided} were under way, {tally.undecided_done} of them done; "
            f"serving after {statistics.median(self.starts):.2f} s (median), {max(self.starts):.2f} s (worst)"
        )


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument(
        "--directory", type=Path, help="keep the server's files here (default: a temporary one)"
    )
    parser.add_argument("--limit", type=float, default=SERVING_SECONDS, help="seconds until it must serve")
    options = parser.parse_args(argv)
    print(f"{chosen_flavour().value}: {options.kills} kills, --seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.directory or Path(temporary)
        loop = KillLoop(directory, options.seed, options.writers, options.limit)
        try:
            loop.run(options.kills, lambda line: print(line, flush=True))
        except (Wrong, RuntimeError) as error:
            print(f"WRONG after {loop.kills} kills (--seed {options.seed}):\n{error}", flush=True)
            print(f"the server's last lines:\n{loop.server.tail()}", flush=True)
            return 1
        print(f"all well\n{loop.summary()}" if loop.kills % 10 else "all well")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
