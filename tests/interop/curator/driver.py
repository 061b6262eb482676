"""Curator 5.4, unmodified, in a JVM that a test drives: `Driver.java` plays the recipes, by lines.

Needs a JDK and Debian's jars; `missing_curator` says what is not there. The driver is compiled on first use,
into a folder of the system's temporary directory that is named by the text of its source.

Synopsis::

    with Jvm(tmp_path) as jvm:  # a process; one for many tests, since its start takes a second
        async with jvm.talk() as curator:
            async with curator.client("127.0.0.1:2181") as zk:  # a CuratorFramework: one session
                mutex = await zk.mutex("/jobs")  # a recipe, with a thread of its own
                held = await mutex.acquire(seconds=5)
                held.token  # the czxid of its znode
                await mutex.release()

What Java raises arrives as `CuratorError`. What happens by itself (who leads, which item came) is told by
`Recipe.event`. A `Jvm` is talked to by one at a time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote_plus, unquote_plus

import pytest
import trio

import coord
from benchmarks.java import JAVA, missing_zookeeper
from tests.recipes import lines
from tests.servers import java_command

SOURCE = Path(__file__).with_name("Driver.java")
JARS = ("curator-recipes", "curator-framework", "curator-client", "guava")
SECONDS = 20.0
"""within which anything is answered"""


def missing_curator() -> str:
    """Why Curator cannot run here; "" if it can."""
    if reason := missing_zookeeper():
        return reason
    if shutil.which("javac") is None:
        return "javac is not installed (apt-get install openjdk-17-jdk-headless)"
    if missing := [jar for jar in JARS if not (JAVA / f"{jar}.jar").exists()]:
        return f"{missing[0]}.jar is not in {JAVA} (apt-get install libcurator-recipes-java)"
    return ""


needs_curator = [
    pytest.mark.java,
    pytest.mark.skipif(bool(missing_curator()), reason=missing_curator() or "Curator is here"),
]
"""for a module's `pytestmark`"""


class CuratorError(Exception):
    """What a recipe of Curator's raised: the name of its class, and its message."""


async def until_waiting(zk: coord.Client, path: str, count: int) -> None:
    """Wait until so many are in line at `path`."""
    with trio.fail_after(SECONDS):
        await lines.until_waiting(zk, path, count)


@cache
def classes() -> Path:
    """The folder of the compiled driver. Raises `AssertionError` with what javac says against it."""
    version = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    compiled = Path(tempfile.gettempdir()) / f"coord-curator-driver-{os.getuid()}-{version}"
    if not compiled.exists():
        fresh = Path(tempfile.mkdtemp(prefix=compiled.name))
        jars = ":".join(str(JAVA / f"{jar}.jar") for jar in (*JARS, "zookeeper"))
        command = ["javac", "-d", str(fresh), "-cp", jars, str(SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        try:
            fresh.rename(compiled)
        except OSError:  # somebody else was faster
            shutil.rmtree(fresh)
    return compiled


class Jvm:
    """The process; its log is ``curator.log`` in the directory. Without `own_group`, signals to our process
    group are for it, too."""

    def __init__(self, directory: Path, *, own_group: bool = True) -> None:
        command = java_command(directory, "Driver", jars=JARS, classes=classes())
        with (directory / "curator.log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=own_group,
            )
        self._tags = count(1)

    @asynccontextmanager
    async def talk(self) -> AsyncIterator[Curator]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        async with (
            trio.lowlevel.FdStream(os.dup(self.process.stdin.fileno())) as requests,
            trio.lowlevel.FdStream(os.dup(self.process.stdout.fileno())) as answers,
            trio.open_nursery() as nursery,
        ):
            # It listens until the end, even of a talk that is cancelled: clients are closed then.
            curator, listening = Curator(requests, self._tags), trio.CancelScope(shield=True)
            nursery.start_soon(curator.listen, answers, listening)
            try:
                yield curator
            finally:
                listening.cancel(reason="the talk is over")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self.process:
            self.process.kill()


class Curator:
    """Requests and their answers, many at a time."""

    def __init__(self, stream: trio.abc.SendStream, tags: count[int]) -> None:
        self._stream = stream
        self._writing = trio.Lock()
        self.tags = tags
        self._answers: dict[str, trio.MemorySendChannel[list[str]]] = {}
        self._events: dict[str, trio.MemorySendChannel[list[str]]] = {}

    async def listen(self, stream: trio.abc.ReceiveStream, scope: trio.CancelScope) -> None:
        with scope:
            await self._listen(stream)
        for channel in (*self._answers.values(), *self._events.values()):
            channel.close()

    async def _listen(self, stream: trio.abc.ReceiveStream) -> None:
        rest = b""
        async for piece in stream:
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                tag, *words = map(unquote_plus, line.decode().split(" "))
                if tag == "*":
                    tag, *words = words
                    channel = self._events.get(tag)
                else:
                    channel = self._answers.pop(tag, None)
                if channel is not None:
                    channel.send_nowait(words)

    async def ask(self, *words: object) -> list[str]:
        """One request; may be cancelled, which Curator does not learn of. Raises `CuratorError`,
        `trio.EndOfChannel` if the JVM has died."""
        tag = str(next(self.tags))
        sender, answer = trio.open_memory_channel[list[str]](1)
        self._answers[tag] = sender
        line = " ".join([tag, *(quote_plus(str(word)) for word in words)])
        async with self._writing:
            with trio.CancelScope(shield=True):  # half a line would spoil the next one
                await self._stream.send_all(line.encode() + b"\n")
        verdict, *results = await answer.receive()
        if verdict != "ok":
            raise CuratorError(*results)
        return results

    def events(self, name: str) -> trio.MemoryReceiveChannel[list[str]]:
        sender, receiver = trio.open_memory_channel[list[str]](1_000)
        self._events[name] = sender
        return receiver

    @asynccontextmanager
    async def client(self, hosts: str, *, timeout: float = 10.0) -> AsyncIterator[CuratorClient]:
        """A session, and all the recipes made with it; `timeout` is the session's, in seconds."""
        name = f"client{next(self.tags)}"
        states = self.events(name)
        number, password = await self.ask("connect", name, hosts, int(timeout * 1000))
        handle = coord.SessionHandle(int(number), bytes.fromhex(password))
        try:
            yield CuratorClient(self, name, hosts, handle, states)
        finally:
            with trio.move_on_after(SECONDS, shield=True):
                try:
                    await self.ask("close", name)
                except (trio.EndOfChannel, trio.BrokenResourceError):
                    pass  # the JVM is gone, and so is the client


@dataclass(frozen=True)
class Held:
    """What was acquired: the czxid of its znode, and its path."""

    token: int
    path: str


class Recipe:
    """One object of Curator's, with a thread of its own in which it does one thing after the other."""

    def __init__(self, curator: Curator, name: str) -> None:
        self._curator = curator
        self._name = name
        self._events = curator.events(name)

    async def ask(self, *words: object) -> list[str]:
        return await self._curator.ask("do", self._name, *words)

    async def event(self, seconds: float = SECONDS) -> list[str]:
        """The next thing that it told by itself."""
        with trio.fail_after(seconds):
            return await self._events.receive()

    async def until(self, *words: str) -> None:
        """Skips to that event."""
        while await self.event() != list(words):
            pass

    async def interrupt(self) -> None:
        """Interrupts what its thread waits for, which then raises; it goes on in another thread."""
        await self._curator.ask("interrupt", self._name)


class Mutex(Recipe):
    """InterProcessMutex, one half of a read-write lock, InterProcessSemaphoreV2."""

    def __init__(self, curator: Curator, name: str, half: Sequence[str] = ()) -> None:
        super().__init__(curator, name)
        self._half = half

    async def acquire(self, seconds: float = SECONDS) -> Held | None:
        """None if it was not to be had in this time."""
        acquired, *what = await self.ask(*self._half, "acquire", seconds)
        return Held(int(what[0]), what[1]) if acquired == "true" else None

    async def release(self) -> None:
        await self.ask(*self._half, "release")

    async def participants(self) -> list[str]:
        """Their znodes, the first first."""
        return await self.ask(*self._half, "participants")

    async def make_revocable(self) -> None:
        """It will say ``revoke`` when asked to let go."""
        await self.ask(*self._half, "revocable")


class SemaphoreMutex(Recipe):
    async def acquire(self, seconds: float = SECONDS) -> bool:
        return await self.ask("acquire", seconds) == ["true"]

    async def release(self) -> None:
        await self.ask("release")


class Leadership(Recipe):
    """LeaderLatch or LeaderSelector: they say ``leading`` and ``following``."""

    async def start(self) -> None:
        await self.ask("start")

    async def close(self) -> None:
        await self.ask("close")

    async def leads(self) -> bool:
        return await self.ask("leads") == ["true"]

    async def leader(self) -> str:
        return (await self.ask("leader"))[0]

    async def participants(self) -> list[str]:
        return await self.ask("participants")

    async def yield_(self) -> None:
        """(A selector.) Ends the term it is in, or the next one."""
        await self.ask("yield")

    async def requeue(self) -> None:
        """(A selector.) Stands again, once."""
        await self.ask("requeue")


class Gate(Recipe):
    """DistributedBarrier."""

    async def set(self) -> None:
        await self.ask("set")

    async def remove(self) -> None:
        await self.ask("remove")

    async def wait(self, seconds: float = SECONDS) -> bool:
        return await self.ask("wait", seconds) == ["true"]


class Rendezvous(Recipe):
    """DistributedDoubleBarrier."""

    async def enter(self, seconds: float = SECONDS) -> bool:
        return await self.ask("enter", seconds) == ["true"]

    async def leave(self, seconds: float = SECONDS) -> bool:
        return await self.ask("leave", seconds) == ["true"]


class Membership(Recipe):
    """GroupMember."""

    async def start(self) -> None:
        await self.ask("start")

    async def members(self) -> dict[str, str]:
        words = await self.ask("members")
        return dict(zip(words[::2], words[1::2], strict=True))

    async def close(self) -> None:
        await self.ask("close")


class ItemQueue(Recipe):
    """DistributedQueue, DistributedPriorityQueue. A consumer says ``item``, and which; at "slow" it waits."""

    async def start(self) -> None:
        await self.ask("start")

    async def put(self, item: str, *priority: int) -> None:
        """Returns when it is there."""
        await self.ask("put", item, *priority)

    async def go(self) -> None:
        """Lets a consumer end its item "slow"."""
        await self.ask("go")

    async def close(self) -> None:
        await self.ask("close")


class Number(Recipe):
    """DistributedAtomicInteger, DistributedAtomicLong: all return the value after it, None if that failed."""

    async def get(self) -> int | None:
        return self._value(await self.ask("get"))

    async def add(self, delta: int) -> int | None:
        return self._value(await self.ask("add", delta))

    async def set(self, value: int) -> int | None:
        return self._value(await self.ask("set", value))

    def _value(self, words: list[str]) -> int | None:
        return int(words[1]) if words[0] == "true" else None


class SharedCount(Recipe):
    """It says ``count``, and the new one."""

    async def start(self) -> None:
        await self.ask("start")

    async def get(self) -> int:
        return int((await self.ask("get"))[0])

    async def set(self, value: int) -> None:
        await self.ask("set", value)

    async def add(self, delta: int) -> bool:
        """False if somebody else was faster."""
        return await self.ask("add", delta) == ["true"]

    async def close(self) -> None:
        await self.ask("close")


@dataclass(frozen=True)
class CuratorClient:
    """A CuratorFramework: one session (as long as it lives), and recipes made with it."""

    curator: Curator
    name: str
    hosts: str
    session: coord.SessionHandle
    states: trio.MemoryReceiveChannel[list[str]]
    """of its connection, by Curator's names"""

    async def _make(self, kind: str, path: str, *words: object) -> tuple[Curator, str]:
        name = f"{kind}{next(self.curator.tags)}"
        await self.curator.ask("make", name, self.name, kind, path, *words)
        return self.curator, name

    async def expire(self) -> None:
        """Ends the session from outside, as the server does when it hears nothing."""
        async with coord.connect(self.hosts, session=self.session):
            pass

    async def revoke(self, path: str) -> None:
        """Curator's Revoker: asks the holder with that znode to let go."""
        await self.curator.ask("revoke", self.name, path)

    async def mutex(self, path: str) -> Mutex:
        return Mutex(*await self._make("mutex", path))

    async def semaphore_mutex(self, path: str) -> SemaphoreMutex:
        return SemaphoreMutex(*await self._make("semaphoremutex", path))

    async def read_write(self, path: str) -> tuple[Mutex, Mutex]:
        """The reader's half and the writer's, of one thread: so the writer can downgrade."""
        made = await self._make("readwrite", path)
        return Mutex(*made, half=["read"]), Mutex(*made, half=["write"])

    async def semaphore(self, path: str, leases: int) -> Mutex:
        return Mutex(*await self._make("semaphore", path, leases))

    async def counted_semaphore(self, path: str, count_path: str, first: int) -> Mutex:
        """Its limit is that of a SharedCount."""
        return Mutex(*await self._make("countedsemaphore", path, count_path, first))

    async def latch(self, path: str, name: str) -> Leadership:
        return Leadership(*await self._make("latch", path, name))

    async def selector(self, path: str, name: str) -> Leadership:
        return Leadership(*await self._make("selector", path, name))

    async def barrier(self, path: str) -> Gate:
        return Gate(*await self._make("barrier", path))

    async def double_barrier(self, path: str, members: int) -> Rendezvous:
        return Rendezvous(*await self._make("doublebarrier", path, members))

    async def member(self, path: str, name: str, data: str) -> Membership:
        return Membership(*await self._make("member", path, name, data))

    async def queue(self, path: str, *, lock_path: str = "", consumes: bool = False) -> ItemQueue:
        role = "both" if consumes else "producer"
        return ItemQueue(*await self._make("queue", path, lock_path, role))

    async def priority_queue(self, path: str, *, lock_path: str = "", consumes: bool = False) -> ItemQueue:
        role = "both" if consumes else "producer"
        return ItemQueue(*await self._make("priorityqueue", path, lock_path, role))

    async def shared_count(self, path: str, first: int) -> SharedCount:
        return SharedCount(*await self._make("count", path, first))

    async def atomic_integer(self, path: str) -> Number:
        return Number(*await self._make("integer", path))

    async def atomic_long(self, path: str) -> Number:
        return Number(*await self._make("long", path))
