"""Client libraries whose callers are threads: coord.blocking and kazoo.

Owns how each of them does what is measured (see `client_calls`).

Rules that hold here:

- The coroutines block: nothing else runs in this process meanwhile.
"""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Any

from kazoo.client import KazooClient

from benchmarks.client_calls import CALLERS, DATA, ROOT, SESSION_SECONDS, Library
from coord import blocking


class Threads(Library):
    """A library whose callers are threads."""

    operations: dict[str, Callable[[], object]]

    def __init__(self, hosts: str, stack: ExitStack) -> None:
        self._hosts = hosts
        self.zk = zk = self.open(stack)
        self.operations = {"get": lambda: zk.get(ROOT), "set": lambda: zk.set(ROOT, DATA)}

    @abstractmethod
    def open(self, stack: ExitStack) -> Any:
        """A client that is connected as long as `stack` is open."""

    @asynccontextmanager
    async def more_clients(self, count: int) -> AsyncIterator[bool]:
        with ExitStack() as stack:
            for _ in range(count):
                self.open(stack)
            yield True

    async def alone(self, operation: str, count: int) -> bool:
        self._calls(operation, count)
        return True

    def _calls(self, operation: str, count: int) -> None:
        call = self.operations[operation]
        for _ in range(count):
            call()

    async def together(self, operation: str, each: int) -> None:
        threads = [threading.Thread(target=self._calls, args=(operation, each)) for _ in range(CALLERS)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()


class CoordBlocking(Threads):
    def open(self, stack: ExitStack) -> Any:
        return stack.enter_context(blocking.connect(self._hosts, timeout=SESSION_SECONDS))

    async def notice(self) -> float | None:
        ended = 0.0
        with self.zk.watch() as watch:
            self.zk.get(ROOT, watch=watch)

            def hear() -> None:
                nonlocal ended
                watch.wait()
                ended = time.perf_counter()

            thread = threading.Thread(target=hear)
            thread.start()
            began = time.perf_counter()
            self.zk.set(ROOT, DATA)
            thread.join()
        return ended - began

    async def storm(self, paths: list[str]) -> float | None:
        with self.zk.watch() as watch:
            for path in paths:
                self.zk.get(path, watch=watch)
            began = time.perf_counter()
            with self.zk.transaction() as tx:
                for path in paths:
                    tx.set(path, DATA)
            for _ in paths:
                watch.wait()
            return time.perf_counter() - began


class Kazoo(Threads):
    def open(self, stack: ExitStack) -> Any:
        zk = KazooClient(self._hosts, timeout=SESSION_SECONDS)
        zk.start()
        stack.callback(zk.close)
        stack.callback(zk.stop)
        return zk

    async def notice(self) -> float | None:
        ended = 0.0
        heard = threading.Event()

        def hear(_: object) -> None:
            nonlocal ended
            ended = time.perf_counter()
            heard.set()

        self.zk.get(ROOT, watch=hear)
        began = time.perf_counter()
        self.zk.set(ROOT, DATA)
        heard.wait()
        return ended - began

    async def storm(self, paths: list[str]) -> float | None:
        left = len(paths)
        heard = threading.Event()

        def hear(_: object) -> None:  # always in kazoo's one thread for that
            nonlocal left
            left -= 1
            if left == 0:
                heard.set()

        for path in paths:
            self.zk.get(path, watch=hear)
        began = time.perf_counter()
        with self.zk.transaction() as tx:
            for path in paths:
                tx.set_data(path, DATA)
        heard.wait()
        return time.perf_counter() - began


class KazooAsync(Library):
    """kazoo's other way to call: one thread, with a hundred requests under way."""

    def __init__(self, hosts: str, stack: ExitStack) -> None:
        zk = Kazoo(hosts, stack).zk
        self._operations: dict[str, Callable[[], Any]] = {
            "get": lambda: zk.get_async(ROOT),
            "set": lambda: zk.set_async(ROOT, DATA),
        }

    async def together(self, operation: str, each: int) -> None:
        call = self._operations[operation]
        for _ in range(each):
            for one in [call() for _ in range(CALLERS)]:
                one.get()
