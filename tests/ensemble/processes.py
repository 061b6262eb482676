"""An ensemble of real server processes on ports of 127.0.0.1, and what can be done to it.

Synopsis::

    async with EnsembleProcesses(tmp_path, 3) as ensemble:
        leader = await ensemble.leader()
        ensemble.kill(leader)
        await ensemble.leader()  # of those that are left
        ensemble.spawn(leader)
        await ensemble.until_all_serve()

With `proxied`, members reach each other through a `Switchboard`, which can hold up or slow down what any
member says to any other. Output goes to ``N/server.log`` in the directory.

The ports are not of the range from which the system takes those of outgoing connections: a member that keeps
trying the port of one that is away would sooner or later be given that very port, and be connected to itself.
"""

from __future__ import annotations

import os
import random
import re
import resource
import shutil
import socket
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sized
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import trio

from coord.server.ensemble import QUIET_PORTS
from tests.ensemble.switchboard import Switchboard
from tests.servers import Flavour, ServerProcess

HOST = "127.0.0.1"
POLL_SECONDS = 0.01
ANSWER_SECONDS = 1.0
SECONDS = 30.0

_given: set[int] = set()
_random = random.Random(os.getpid() * 1_000_003 + time.time_ns())


def quiet_port() -> int:
    """A free port that the system gives to nobody by itself, and this function to nobody twice."""
    while True:
        port = _random.choice(QUIET_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port


def longer(things: Sized, length: int) -> bool:
    """For `until`."""
    return len(things) > length


class EnsembleProcesses:
    """Members 1 … `size`; `config` adds to their zoo.cfg. Started on entering, killed on leaving."""

    def __init__(
        self,
        directory: Path,
        size: int = 3,
        config: Mapping[str, str] | None = None,
        *,
        proxied: bool = False,
    ) -> None:
        self.directory = directory
        self.ids = list(range(1, size + 1))
        self.switchboard = Switchboard()
        self._proxied = proxied
        self._extra = dict(config or {})
        self._servers: dict[int, ServerProcess] = {}
        self._paused: set[int] = set()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._configure()
            self.spawn(*self.ids)
            await self.until_all_serve()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.kill(*self.running)
        finally:
            await self._stack.aclose()

    async def _configure(self) -> None:
        addresses = {one: (quiet_port(), quiet_port()) for one in self.ids}
        if self._proxied:
            await self._stack.enter_async_context(self.switchboard.running())
        for one in self.ids:
            home = self.directory / str(one)
            server = self._servers[one] = ServerProcess(home, self._extra, flavour=Flavour.COORD)
            server.port = quiet_port()
            server.hosts = f"{HOST}:{server.port}"
            server.config |= {"clientPort": str(server.port), "initLimit": "10", "syncLimit": "5"}
            for other, (peer, election) in addresses.items():
                if self._proxied and other != one:
                    peer = await self.switchboard.extension(one, other, peer)
                    election = await self.switchboard.extension(one, other, election)
                server.config[f"server.{other}"] = f"{HOST}:{peer}:{election}"
            self._write_id(one)

    def _write_id(self, one: int) -> None:
        data = self.data_directory(one)
        data.mkdir(parents=True, exist_ok=True)
        (data / "myid").write_text(f"{one}\n")

    # -- where things are -----------------------------------------------------------------------------

    def data_directory(self, one: int) -> Path:
        return self.directory / str(one) / "data"

    def port(self, one: int) -> int:
        return self._servers[one].port

    def hosts(self, *ids: int) -> str:
        """The connect string of these members, or of all."""
        return ",".join(self._servers[one].hosts for one in ids or self.ids)

    def epochs(self, one: int) -> str:
        """The file that says what it has promised."""
        return (self.data_directory(one) / "coord" / "epochs").read_text()

    @property
    def running(self) -> list[int]:
        """Paused ones included."""
        return [one for one, server in self._servers.items() if server.process is not None]

    @property
    def awake(self) -> list[int]:
        return [one for one in self.running if one not in self._paused]

    def followers(self, leader: int) -> list[int]:
        return [one for one in self.running if one != leader]

    def process_id(self, one: int) -> int:
        return self._servers[one].pid

    def log(self, one: int, lines: int = 40) -> str:
        return self._servers[one].tail(lines)

    # -- what is done to them -------------------------------------------------------------------------

    def spawn(self, *ids: int) -> None:
        """Starts processes and waits for nothing."""
        for one in ids:
            self._servers[one].spawn()

    def kill(self, *ids: int) -> None:
        """SIGKILL; returns when they are gone. Raises `AssertionError` if one had ended by itself."""
        ended = {one: self._servers[one].kill() for one in ids}
        self._paused -= set(ids)
        wrong = {one: status for one, status in ended.items() if status not in (-9, 0)}
        assert not wrong, f"ended by themselves: {wrong}\n" + "\n".join(map(self.log, wrong))

    async def stop(self, one: int) -> int:
        """SIGTERM; returns the exit status."""
        self.resume(one)
        return await trio.to_thread.run_sync(self._servers[one].stop)

    async def ended(self, one: int, seconds: float = SECONDS) -> int:
        """Waits for a member that ends by itself; its exit status."""
        process = self._servers[one].process
        assert process is not None
        await self.until(lambda: process.poll() is not None, f"the end of member {one}", seconds)
        self._servers[one].kill()
        assert process.returncode is not None
        return process.returncode

    def pause(self, one: int) -> None:
        self._servers[one].pause()
        self._paused.add(one)

    def resume(self, *ids: int) -> None:
        for one in ids:
            if one in self._paused:
                self._servers[one].resume()
                self._paused.discard(one)

    def fill_disk(self, one: int) -> None:
        """Nothing can be written any more at or beyond the 50,000th byte of a file, by this process: the next
        writes, at the latest, end it (see `ended`)."""
        resource.prlimit(self.process_id(one), resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))

    def wipe(self, one: int) -> None:
        """All it ever knew but its id is gone."""
        assert one not in self.running
        shutil.rmtree(self.data_directory(one))
        self._write_id(one)

    @contextmanager
    def paused(self, one: int) -> Iterator[None]:
        self.pause(one)
        try:
            yield
        finally:
            self.resume(one)

    def revive(self) -> None:
        """Everybody runs, everybody can talk to everybody."""
        self.switchboard.heal()
        self.resume(*self._paused.copy())
        self.spawn(*(one for one in self.ids if one not in self.running))

    # -- how they are ---------------------------------------------------------------------------------

    async def until(
        self, condition: Callable[[], object], what: str = "the condition", seconds: float = SECONDS
    ) -> None:
        with trio.move_on_after(seconds):
            while not condition():
                await trio.sleep(POLL_SECONDS)
            return
        raise AssertionError(f"{what} did not come within {seconds} s\n{self._logs()}")

    async def modes(self, ids: Iterable[int] | None = None) -> dict[int, str]:
        """``leader``, ``follower``, … as srvr has it; ``waiting`` for a leader; ``silent``."""
        found: dict[int, str] = {}

        async def ask(one: int) -> None:
            answer = await self.srvr(one)
            mode = re.search(r"^Mode: (\S+)$", answer, re.MULTILINE)
            found[one] = mode[1] if mode else "waiting" if answer else "silent"

        async with trio.open_nursery() as nursery:
            for one in self.awake if ids is None else ids:
                nursery.start_soon(ask, one)
        return found

    async def leader(
        self, among: Collection[int] | None = None, *, apart_from: int = 0, seconds: float = SECONDS
    ) -> int:
        """Who leads those that are awake, by its own word."""
        ids = [one for one in (self.awake if among is None else among) if one != apart_from]
        with trio.move_on_after(seconds):
            while True:
                modes = await self.modes(ids)
                leaders = [one for one, mode in modes.items() if mode == "leader"]
                if len(leaders) == 1:
                    return leaders[0]
                await trio.sleep(POLL_SECONDS)
        raise AssertionError(f"no leader within {seconds} s\n{self._logs()}")

    async def until_all_serve(self, seconds: float = SECONDS) -> int:
        """Everybody awake leads or follows; the leader."""
        with trio.move_on_after(seconds):
            while True:
                modes = await self.modes()
                if sorted(modes.values()) == ["follower"] * (len(modes) - 1) + ["leader"]:
                    return next(one for one, mode in modes.items() if mode == "leader")
                await trio.sleep(POLL_SECONDS)
        raise AssertionError(f"not everybody serves after {seconds} s: {modes}\n{self._logs()}")

    async def zxid(self, one: int) -> int:
        """The last one that the member has applied; -1 if it does not say."""
        found = re.search(r"^Zxid: 0x([0-9a-f]+)$", await self.srvr(one), re.MULTILINE)
        return int(found[1], 16) if found else -1

    async def srvr(self, one: int) -> str:
        """What it answers to that word; "" if it does not."""
        answer = b""
        try:
            with trio.fail_after(ANSWER_SECONDS):
                async with await trio.open_tcp_stream(HOST, self.port(one)) as stream:
                    await stream.send_all(b"srvr")
                    async for piece in stream:
                        answer += piece
        except (OSError, trio.BrokenResourceError, trio.TooSlowError):
            return ""
        return answer.decode("ascii", "replace")

    async def until_equal(self, seconds: float = SECONDS) -> None:
        """All that are awake have applied the same."""
        with trio.move_on_after(seconds):
            while True:
                zxids = {await self.zxid(one) for one in self.awake}
                if len(zxids) == 1 and -1 not in zxids:
                    return
                await trio.sleep(POLL_SECONDS)
        raise AssertionError(f"they differ after {seconds} s: {zxids}\n{self._logs()}")

    def _logs(self) -> str:
        return "\n".join(f"--- member {one}\n{self.log(one, 12)}" for one in self.ids)
