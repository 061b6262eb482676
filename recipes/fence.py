"""Transactions that happen only while a grant is held.

Owns one rule: the first operation of the transaction is a check of the znode that proves the grant, and when
that check is what failed, the error is the grant's own. A late write of somebody who lost the grant, delayed
however long in whatever queue, is then refused by the server itself. (Where others
may have a znode of the same name by then, one of a grant that is known to be gone is not even sent.)

Synopsis::

    async with grant.transaction() as transaction:
        transaction.set("/jobs/last", b"done")
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from coord import BadVersion, NoNode, RequestFailed, Stat, Transaction
from recipes.errors import GrantLost


class FencedTransaction:
    """A `coord` transaction preloaded with a check; `results` are those of the operations added to it."""

    def __init__(
        self,
        transaction: Transaction,
        path: str,
        version: int,
        lost: Callable[[str], GrantLost],
        *,
        ensure: Callable[[], None] | None = None,
    ) -> None:
        """`lost` is told, in words, that the server has refused it, and makes the error to raise. `ensure`
        raises if the grant is known to be gone: for a `path` that may be another's then."""
        self._transaction = transaction
        self._ensure = ensure
        self._lost = lost
        self._committed = False
        self.results: list[str | Stat | None] = []
        transaction.check(path, version)

    def check(self, path: str, version: int = -1) -> None:
        self._transaction.check(path, version)

    def create(self, path: str, data: bytes | None = b"", **options: Any) -> None:
        """As `Transaction.create`."""
        self._transaction.create(path, data, **options)

    def set(self, path: str, data: bytes | None, *, version: int = -1) -> None:
        self._transaction.set(path, data, version=version)

    def delete(self, path: str, *, version: int = -1) -> None:
        self._transaction.delete(path, version=version)

    async def commit(self) -> list[str | Stat | None]:
        """Do all or nothing; raises the grant's own error if the grant is gone, else the culprit's."""
        self._committed = True
        if self._ensure is not None:
            self._ensure()
        try:
            results = await self._transaction.commit()
        except (NoNode, BadVersion) as error:
            if _fence_failed(error):
                raise self._lost("the server refused a write of a grant that is gone") from error
            raise
        self.results = results[1:]
        return self.results

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not self._committed:
            await self.commit()


def _fence_failed(error: RequestFailed) -> bool:
    """Was it the first operation that failed? (The server marks the others as rolled back.)"""
    return bool(error.results) and isinstance(error.results[0], (NoNode, BadVersion))
