"""A number in a znode that many change, each change on top of the one before it.

Owns reading, changing and encoding the number. Rules that hold here:

- A change is a write conditional on the version that was read; who was overtaken reads again.
- A write whose reply was lost is looked after: if the znode is as it was, nothing was done, and it is tried
  again; if it has changed, nobody can tell whose change that was, and `OutcomeUnknown` says so. With
  `at_least_once` the change is then made again.
- A number that the encoding has no room for raises `OverflowError`, and nothing is written.
- The znode's version is not part of the number: it wraps after 2**32 changes, and the change at version -1
  (which in a request means "any") is made conditional in another way.

Synopsis::

    hits = Counter(zk, "/stats/hits")
    await hits.add(2)  # the new value

    shared = Counter(zk, "/limit", codec=INT32)  # Curator's SharedCount and DistributedAtomicInteger
    await shared.compare_and_set(5, 6)
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar, overload

from coord import (
    BadVersion,
    Client,
    ConnectionLost,
    NodeExists,
    NoNode,
    RequestTooLarge,
    SessionExpired,
    Stat,
    States,
    Watch,
)
from recipes.errors import OutcomeUnknown

N = TypeVar("N", int, float)

ANY_VERSION: Final = -1


class Codec(Protocol):
    """How a number is written into a znode."""

    def encode(self, value: float) -> bytes:
        """Raises OverflowError if there is no room for it."""

    def decode(self, data: bytes, kind: type[N]) -> N:
        """Raises ValueError if that is no number of this `kind`."""


class _Text:
    def __repr__(self) -> str:
        return "TEXT"

    def encode(self, value: float) -> bytes:
        return repr(value).encode("ascii")

    def decode(self, data: bytes, kind: type[N]) -> N:
        return kind(data.decode("ascii"))


class _Binary:
    def __init__(self, bits: int, form: str) -> None:
        self._bits = bits
        self._struct = struct.Struct(form)

    def __repr__(self) -> str:
        return f"INT{self._bits}"

    def encode(self, value: float) -> bytes:
        try:
            return self._struct.pack(value)
        except struct.error:
            raise OverflowError(f"{value} does not fit into {self._bits} bits") from None

    def decode(self, data: bytes, kind: type[N]) -> N:
        if len(data) != self._struct.size:
            raise ValueError(f"{len(data)} bytes are no number of {self._bits} bits")
        return kind(self._struct.unpack(data)[0])


TEXT: Final[Codec] = _Text()
"""Decimal digits, an int or a float: kazoo's Counter."""

INT32: Final[Codec] = _Binary(32, ">i")
"""Four bytes: Curator's SharedCount and DistributedAtomicInteger, kazoo's Counter with `support_curator`."""

INT64: Final[Codec] = _Binary(64, ">q")
"""Eight bytes: Curator's DistributedAtomicLong."""


class Counter(Generic[N]):
    """The number at `path`; it is `default` where there is no znode yet, or an empty one, and of the
    default's type: a float with ``default=0.0``, which only `TEXT` can write."""

    @overload
    def __init__(
        self: Counter[int], zk: Client, path: str, default: int = 0, *, codec: Codec = TEXT
    ) -> None: ...

    @overload
    def __init__(
        self: Counter[float], zk: Client, path: str, default: float, *, codec: Codec = TEXT
    ) -> None: ...

    def __init__(self, zk: Client, path: str, default: float = 0, *, codec: Codec = TEXT) -> None:
        """Raises TypeError and OverflowError for a default that `codec` cannot write."""
        self._zk = zk
        self.path = path
        self.default = default
        self._kind: type[float] = float if isinstance(default, float) else int
        self._codec = codec
        if codec is not TEXT and self._kind is float:
            raise TypeError(f"{codec!r} writes integers; the default is {default!r}")
        self._encode(default)

    def __repr__(self) -> str:
        return f"<Counter {self.path}>"

    # -- reading ------------------------------------------------------------------------------------

    async def value(self, *, linearizable: bool = False) -> N:
        """The number, as the server at hand knows it; with `linearizable`, no older than this call.

        Raises ValueError if there is something else in the znode.
        """
        while True:
            try:
                data, _ = await self._zk.get(self.path, linearizable=linearizable)
            except NoNode:
                data = b""
            except SessionExpired:
                continue  # the next session can tell, too
            return self._decode(data)

    def watch(self) -> States[N]:
        """The number, now and whenever it differs.

        Synopsis::

            async with counter.watch() as values:
                async for value in values:
                    ...
        """

        async def read(watch: Watch) -> N:
            while True:
                try:
                    data, _ = await self._zk.get(self.path, watch=watch)
                    return self._decode(data)
                except NoNode:
                    if await self._zk.exists(self.path, watch=watch) is None:
                        return self._decode(b"")

        return States(self._zk.watch(), read, lambda value: value)

    # -- changing -----------------------------------------------------------------------------------

    async def add(self, n: N, *, at_least_once: bool = False) -> N:
        """Add `n`, which may be negative; returns the new value. Raises as `update` does."""
        return await self.update(lambda value: value + n, at_least_once=at_least_once)

    async def set(self, value: N, *, at_least_once: bool = False) -> N:
        """Set it to `value`, which is returned. Raises as `update` does."""
        return await self.update(lambda _: value, at_least_once=at_least_once)

    async def compare_and_set(self, expected: N, value: N) -> bool:
        """Set it to `value` if it is `expected`; returns whether it was. Raises as `update` does."""
        was = False

        def change(present: N) -> N | None:
            nonlocal was
            was = present == expected
            return value if was else None

        await self._change(change, at_least_once=False)
        return was

    async def update(self, change: Callable[[N], N], *, at_least_once: bool = False) -> N:
        """Replace the number by ``change(number)``, which is returned; `change` may be called several times.

        Raises `OutcomeUnknown` if the reply was lost and somebody, perhaps we, changed the number meanwhile
        (unless `at_least_once`: then it is changed again); OverflowError and TypeError for a result that
        cannot be written, ValueError if there is no number in the znode.
        """
        return await self._change(change, at_least_once=at_least_once)

    async def _change(self, change: Callable[[N], N | None], *, at_least_once: bool) -> N:
        """As `update`; where `change` returns None, nothing is done and the number returned."""
        overtaken = False
        while True:
            try:
                # Who was overtaken has read what the leader knew to be old.
                data, stat = await self._zk.get(self.path, linearizable=overtaken)
                old = self._decode(data)
                new = change(old)
                if new is None:
                    return old
                encoded, session_id = self._encode(new), self._zk.session.id
                await self._write(encoded, stat)
                return self._decode(encoded)
            except NoNode:
                await self._make()
            except BadVersion:
                overtaken = True
            except SessionExpired:
                continue  # the server's word, in place of what was asked: nothing was done
            except RequestTooLarge:
                raise
            except ConnectionLost as error:
                if not (at_least_once or await self._unchanged(stat, session_id)):
                    raise OutcomeUnknown(path=self.path, operation="update") from error

    async def _write(self, data: bytes, seen: Stat) -> None:
        """Set the data if the znode is as it was `seen`."""
        if seen.version != ANY_VERSION:
            await self._zk.set(self.path, data, version=seen.version)
            return
        # The one version that cannot be asked for. After it comes 0, which shows what was before.
        transaction = self._zk.transaction()
        transaction.set(self.path, data)
        transaction.check(self.path, 0)
        await transaction.commit()

    async def _unchanged(self, seen: Stat, session_id: int) -> bool:
        """Whether a write whose reply was lost was surely not done, and never will be."""
        try:
            stat = await self._zk.exists(self.path, linearizable=True)
        except SessionExpired:
            return False
        # In the same session nothing that was asked on the old connection is done after this was answered.
        same_session = self._zk.session.id == session_id
        return same_session and stat is not None and (stat.czxid, stat.mzxid) == (seen.czxid, seen.mzxid)

    async def _make(self) -> None:
        """Create the znode with the default in it: done twice, it is done once."""
        try:
            await self._zk.create(self.path, self._encode(self.default), make_parents=True)
        except RequestTooLarge:
            raise
        except (NodeExists, ConnectionLost, SessionExpired):
            pass  # the read that follows tells

    # -- encoding -----------------------------------------------------------------------------------

    def _encode(self, value: float) -> bytes:
        if not isinstance(value, (int, float) if self._kind is float else int):
            raise TypeError(f"{self!r} counts in {self._kind.__name__}, not in {type(value).__name__}")
        return self._codec.encode(self._kind(value))

    def _decode(self, data: bytes) -> N:
        kind: type[N] = self._kind  # type: ignore[assignment]  # what N is, is decided by the default
        if not data:
            return kind(self.default)
        try:
            return self._codec.decode(data, kind)
        except ValueError as error:
            raise ValueError(f"{self.path} holds no {self._codec!r} number: {data[:40]!r}") from error
