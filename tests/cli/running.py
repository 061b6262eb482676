"""A server in a thread of its own that a test can stop, start and ask.

Synopsis::

    with Running(tmp_path) as server:
        server.address
        server.do(lambda zk: zk.set("/a", b"new"))
        server.stop()
        server.start()  # on the same port; with a directory, its data and sessions are back
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import trio

import coord
from coord.testing import EmbeddedServer, embedded_server

T = TypeVar("T")


class Running:
    """`settings` are those of `embedded_server`."""

    def __init__(self, data_dir: Path | None = None, **settings: Any) -> None:
        self._settings = {"data_dir": data_dir, **settings}
        self._started: queue.Queue[EmbeddedServer] = queue.Queue()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=trio.run, args=(self._run,))
        self._thread.start()
        self._server = self._started.get(timeout=30)
        self.address = self._server.connect_string
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._token.run_sync_soon(self._end.set)
        self._thread.join()

    async def _run(self) -> None:
        async with embedded_server(**self._settings) as server:
            self._token, self._end = trio.lowlevel.current_trio_token(), trio.Event()
            self._started.put(server)
            await self._end.wait()

    def stop(self) -> None:
        trio.from_thread.run(self._server.stop, trio_token=self._token)

    def start(self) -> None:
        trio.from_thread.run(self._server.start, trio_token=self._token)

    def do(self, command: Callable[[coord.Client], Awaitable[T]]) -> T:
        """In a session of its own."""

        async def work() -> T:
            async with coord.connect(self.address) as zk:
                return await command(zk)

        return trio.from_thread.run(work, trio_token=self._token)
