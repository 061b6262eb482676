"""Ending an item of a queue, in one transaction with whatever else is to happen then, and exactly once.

Owns the consumption: which operations it is made of, and how a lost reply is decided.

Rules that hold here:

- An item is consumed by the session that took it or not at all: our mark in `taken` is checked in the same
  transaction, and a call that the session's end interrupts is never made in the next one.
- After a lost reply, what is read in the same session decides. Mark there: nothing was done, and it is tried
  again. Without writes both znodes go at once, and an entry that is gone is consumed, whoever did it. With
  writes the mark stays and says so: only we can have written that, whatever consumers do that delete without
  asking (Curator's, after their session expired).

Synopsis::

    async with item.consume() as writes:
        writes.set("/totals/orders", b"17")
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from coord import (
    BadVersion,
    Client,
    ConnectionLost,
    NoNode,
    RequestTooLarge,
    SessionExpired,
    Stat,
    Transaction,
)
from recipes.errors import GrantLost, OutcomeUnknown
from recipes.grant import Standing

CONSUMED: Final = b" consumed"
"""is appended to a mark that outlives its entry"""

MARK_VERSION: Final = 1
"""of a mark of ours: created, then filled. Those of others, who fill while they create, have version 0."""

_OWN_OPERATIONS: Final = 2


class Consumption:
    """A transaction that takes its item out of the queue; `results` are those of the writes added to it, or
    nothing if the reply was lost and the server had to be asked whether it was done."""

    def __init__(self, zk: Client, entry: str, held: Standing, loss: Callable[[str], GrantLost]) -> None:
        """`entry` is the item's znode, `held` our mark, `loss` makes the error to raise from the reason."""
        self.done = False
        self.results: list[str | Stat | None] = []
        self._zk = zk
        self._entry = entry
        self._held = held
        self._loss = loss
        self._writes: list[Callable[[Transaction], None]] = []

    @property
    def leaves_mark(self) -> bool:
        """Whether the mark is there still, after the consumption, and has to be deleted."""
        return bool(self._writes) or not self.done

    def check(self, path: str, version: int = -1) -> None:
        """As `Transaction.check`."""
        self._writes.append(lambda transaction: transaction.check(path, version))

    def create(self, path: str, data: bytes | None = b"", **options: Any) -> None:
        """As `Transaction.create`."""
        self._writes.append(lambda transaction: transaction.create(path, data, **options))

    def set(self, path: str, data: bytes | None, *, version: int = -1) -> None:
        """As `Transaction.set`."""
        self._writes.append(lambda transaction: transaction.set(path, data, version=version))

    def delete(self, path: str, *, version: int = -1) -> None:
        """As `Transaction.delete`."""
        self._writes.append(lambda transaction: transaction.delete(path, version=version))

    async def commit(self) -> list[str | Stat | None]:
        """Consume the item and do the writes: all or nothing.

        Raises `ItemLost` if the item is not ours any more, else the error of the write at fault, with the
        item still held. `OutcomeUnknown` only if the reply was lost and somebody deleted our mark meanwhile.
        """
        try:
            while not self.done:
                await self._attempt()
        except SessionExpired as error:
            raise self._loss("its session expired; it will come again unless it was consumed") from error
        return self.results

    async def _attempt(self) -> None:
        transaction = self._transaction()
        if self._zk.session.id != self._held.session_id:
            raise self._loss("its session is over")
        try:
            results = await transaction.commit()
        except RequestTooLarge:
            raise
        except ConnectionLost as error:
            self.done = await self._was_done(error)
        except (NoNode, BadVersion) as error:
            if any(isinstance(one, (NoNode, BadVersion)) for one in error.results[:_OWN_OPERATIONS]):
                raise self._loss("somebody else consumed it, or took it") from error
            raise
        else:
            self.results = results[_OWN_OPERATIONS:]
            self.done = True

    def _transaction(self) -> Transaction:
        transaction = self._zk.transaction()
        if self._writes:
            assert self._held.mark is not None
            transaction.set(self._held.path, self._held.mark + CONSUMED, version=MARK_VERSION)
        else:
            transaction.delete(self._held.path, version=MARK_VERSION)
        transaction.delete(self._entry)
        for write in self._writes:
            write(transaction)
        return transaction

    async def _was_done(self, lost: ConnectionLost) -> bool:
        try:
            mark, _ = await self._zk.get(self._held.path, linearizable=True)
        except NoNode:
            mark = b""
        gone = not mark and await self._zk.exists(self._entry, linearizable=True) is None
        if self._zk.session.id != self._held.session_id:
            raise self._loss("its session is over; it will come again unless it was consumed") from lost
        assert self._held.mark is not None
        if mark == self._held.mark:
            return False
        if mark == self._held.mark + CONSUMED or (gone and not self._writes):
            return True
        if self._writes:
            raise OutcomeUnknown(path=self._entry, operation="consume") from lost
        raise self._loss("somebody else deleted our mark") from lost

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self.commit()
