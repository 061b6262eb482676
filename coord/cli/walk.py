"""Whole subtrees, read and changed with few waits: many reads in one request, several requests under way.

Owns how much is asked at a time. Must not know what for: commands do.

Rules that hold here: no more is under way than a client and a server hold easily, however large the subtree;
requests of a `Pipeline` are sent in the order in which they were given to it.

Synopsis::

    walk = Walk(zk, "/app", "ls")
    while paths := await walk.next():
        ...
    async with Pipeline() as pipeline:
        for paths in portions(everything, size=len):
            await pipeline.do(partial(delete, zk, paths))
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import trio

from coord import BadArguments, Client, CoordError, GetChildren, GetData, NoNode
from coord.cli.descent import Descent

LISTS_PER_REQUEST: Final = 256
NAMES_PER_REQUEST: Final = 100_000
"""So many children are likely to be told of in one answer, going by the one before."""
DATA_PER_REQUEST: Final = 15
"""So many znodes of 1 MiB fit into what a server answers at most (`limits.MULTI_READ_REPLY_BYTES_MAX`)."""

PATHS_AT_A_TIME: Final = 1000
PORTION: Final = 500
PORTION_BYTES: Final = 256 * 1024
"""What is changed with one request."""

UNDER_WAY: Final = 4
LAST_SECONDS: Final = 2.0
"""So long a request that is under way when its work is cancelled may take to be answered."""

T = TypeVar("T")
R = TypeVar("R")
Read = GetData | GetChildren


class Walk:
    """All paths of a subtree, in zkCli's order, parents first; not one moment's state."""

    def __init__(self, zk: Client, path: str, operation: str) -> None:
        """`operation` is what the command is called in errors."""
        self._zk = zk
        self._root = path
        self._operation = operation
        self._descent = Descent(path)
        self._lists = 1

    async def next(self) -> list[str]:
        """Some more paths; none at the end. Raises `NoNode` (if the first one is missing), `NoAuth`."""
        while not (taken := self._descent.take(PATHS_AT_A_TIME)):
            wanted = self._descent.wanted(self._lists)
            if not wanted:
                break
            answers = await read(self._zk, [GetChildren(path) for path in wanted])
            longest = 1
            for path, answer in zip(wanted, answers, strict=True):
                if isinstance(answer, BadArguments):
                    raise answer
                if isinstance(answer, CoordError):
                    if not isinstance(answer, NoNode) or path == self._root:
                        raise type(answer)(path=path, operation=self._operation)
                    self._descent.learn(path, None)
                else:
                    self._descent.learn(path, answer)
                    longest = max(longest, len(answer))
            self._lists = max(1, min(NAMES_PER_REQUEST // longest, 4 * self._lists, LISTS_PER_REQUEST))
        return taken


async def read(zk: Client, reads: Sequence[Read]) -> list[Any]:
    """What `Client.multi_read` yields, also where a server refuses to answer all of it at once."""
    try:
        return list(await zk.multi_read(reads))
    except BadArguments:
        if len(reads) == 1:
            return [await _read_one(zk, reads[0])]
        middle = len(reads) // 2
        return [*await read(zk, reads[:middle]), *await read(zk, reads[middle:])]


async def _read_one(zk: Client, wanted: Read) -> Any:
    try:
        if isinstance(wanted, GetData):
            return await zk.get(wanted.path)
        return await zk.children(wanted.path)
    except CoordError as error:
        return error


async def read_data(zk: Client, paths: Sequence[str]) -> list[Any]:
    """(data, Stat) of each, or the error in its place; requests of a few each, all under way."""
    portions = [paths[at : at + DATA_PER_REQUEST] for at in range(0, len(paths), DATA_PER_REQUEST)]

    async def one(portion: Sequence[str]) -> list[Any]:
        return await read(zk, [GetData(path) for path in portion])

    found: list[Any] = []
    for answer in await for_each(portions, one):
        if isinstance(answer, CoordError):
            raise answer
        found += answer
    return found


async def for_each(subjects: Sequence[T], action: Callable[[T], Awaitable[R]]) -> list[R | CoordError]:
    """Awaits the action for all of them at the same time; a `CoordError` stands in a result's place."""
    results: list[Any] = [None] * len(subjects)

    async def one(at: int, subject: T) -> None:
        try:
            results[at] = await action(subject)
        except CoordError as error:
            results[at] = error

    async with trio.open_nursery() as nursery:
        for at, subject in enumerate(subjects):
            nursery.start_soon(one, at, subject)
    return results


class Pipeline:
    """Work under way, a few pieces at a time, each begun before the next one.

    After a piece has raised a `CoordError` nothing more is begun, what is under way comes to its end, and the
    error is raised by `do` or at the end of the block. Cancelled, it begins nothing more either, and what is
    under way has `LAST_SECONDS` to come to its end: servers do what was sent to them, whoever waits for it.
    """

    def __init__(self, under_way: int = UNDER_WAY) -> None:
        self._count = under_way
        self._places = trio.Semaphore(under_way)
        self._nurseries = trio.open_nursery()
        self._nursery: trio.Nursery | None = None
        self._scopes: set[trio.CancelScope] = set()
        self._failure: CoordError | None = None

    async def do(self, piece: Callable[[], Awaitable[object]]) -> None:
        """Begins it, once there is a place; what it sends first is sent when this returns."""
        assert self._nursery is not None, "it is used within its block"
        await self._places.acquire()
        if self._failure is not None:
            self._places.release()
            raise self._failure
        begun = trio.Event()
        self._nursery.start_soon(self._run, piece, begun)
        await begun.wait()

    async def _run(self, piece: Callable[[], Awaitable[object]], begun: trio.Event) -> None:
        begun.set()
        with trio.CancelScope(shield=True) as scope:
            self._scopes.add(scope)
            try:
                await piece()
            except CoordError as error:
                self._failure = self._failure or error
        self._scopes.remove(scope)
        self._places.release()

    async def __aenter__(self) -> Self:
        self._nursery = await self._nurseries.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The block's own exception is not the nursery's: it leaves as it is, when all work has ended.
        try:
            for _ in range(self._count):
                await self._places.acquire()
        finally:
            for scope in self._scopes:
                scope.deadline = trio.current_time() + LAST_SECONDS
            await self._nurseries.__aexit__(None, None, None)
        if self._failure is not None and error is None:
            raise self._failure


def portions(
    everything: Iterable[T], *, size: Callable[[T], int], count: int = PORTION, most: int = PORTION_BYTES
) -> Iterator[list[T]]:
    """What goes into one request: at most `count`, and at most `most` bytes unless one alone is larger."""
    portion: list[T] = []
    total = 0
    for one in everything:
        if portion and (len(portion) >= count or total + size(one) > most):
            yield portion
            portion, total = [], 0
        portion.append(one)
        total += size(one)
    if portion:
        yield portion
