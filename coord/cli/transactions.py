"""`coord multi`: several operations, all or nothing, and what became of each.

Owns what an operation of a transaction is. How its text is split is `transaction_syntax`'s business, what its
words mean that of the grammar.

Rule that holds here: an operation is the job of the command of the same name (create, set, delete, check), so
it has the same arguments and flags.

Synopsis::

    jobs = [with_client(commands.check, "/b", version=3), with_client(commands.delete, path="/d")]
    await multi(zk, out, jobs)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from coord import Client, CoordError, RequestFailed, RolledBack, Stat, Transaction
from coord.cli import commands
from coord.cli.content import Content
from coord.cli.jobs import Job, Output
from coord.cli.results import stat_json
from coord.cli.texts import format_stat
from coord.wire.records import ACL


class TransactionFailed(CoordError):
    """None of it was done; the message names the operation at fault."""


@dataclass(frozen=True)
class Outcome:
    """What became of one operation; `number` counts from 1 on."""

    number: int
    operation: str
    path: str
    error: str = ""
    stat: Stat | None = None

    def text(self) -> str:
        line = f"{self.number}. {self.operation} {self.path}: {self.error or 'done'}"
        return line if self.stat is None else f"{line}\n{format_stat(self.stat)}"

    def json(self) -> dict[str, Any]:
        found = {"number": self.number, "operation": self.operation, "path": self.path}
        return {**found, "done": not self.error, "error": self.error or None, **stat_json(self.stat)}


async def multi(zk: Client, out: Output, jobs: Sequence[Job]) -> None:
    """Prints an `Outcome` for each; raises `TransactionFailed` if nothing was done."""
    transaction = zk.transaction()
    operations = [await _NOTE[job.command](transaction, *job.arguments, **job.options) for job in jobs]
    if not operations:
        return
    try:
        results = await transaction.commit()
    except RequestFailed as error:
        _tell_failure(out, operations, error)
    else:
        for number, (operation, result) in enumerate(zip(operations, results, strict=True), start=1):
            path = result if isinstance(result, str) else operation.path
            stat = result if isinstance(result, Stat) and operation.with_stat else None
            out(Outcome(number, operation.name, path, stat=stat))


@dataclass(frozen=True)
class Operation:
    """What a result is to be told with."""

    name: str
    path: str
    with_stat: bool = False


def _tell_failure(out: Output, operations: Sequence[Operation], error: RequestFailed) -> None:
    if not error.results:
        raise error
    fault = None
    for number, (operation, failed) in enumerate(zip(operations, error.results, strict=True), start=1):
        rolled_back = isinstance(failed, RolledBack)
        fault = fault if rolled_back else (number, failed)
        what = "not done" if rolled_back else failed.explanation
        out(Outcome(number, operation.name, operation.path, what))
    if fault is None:
        raise error
    raise TransactionFailed(f"nothing was done: operation {fault[0]}, {fault[1]}") from error


# -- operations, noted down ---------------------------------------------------------------------------


async def _create(
    transaction: Transaction,
    path: str,
    content: Content,
    acl: list[ACL] | None = None,
    *,
    ttl_ms: int | None = None,
    **flags: bool,
) -> Operation:
    ttl = None if ttl_ms is None else ttl_ms / 1000
    transaction.create(path, await content.read(), acl=acl, ttl=ttl, **flags)
    return Operation("create", path)


async def _set(
    transaction: Transaction, path: str, content: Content, *, version: int = -1, with_stat: bool = False
) -> Operation:
    transaction.set(path, await content.read(), version=version)
    return Operation("set", path, with_stat)


async def _delete(transaction: Transaction, path: str, *, version: int = -1) -> Operation:
    transaction.delete(path, version=version)
    return Operation("delete", path)


async def _check(transaction: Transaction, path: str, *, version: int = -1) -> Operation:
    transaction.check(path, version)
    return Operation("check", path)


_NOTE: Final[dict[Callable[..., Awaitable[int | None]], Callable[..., Awaitable[Operation]]]] = {
    commands.create: _create,
    commands.set_data: _set,
    commands.delete: _delete,
    commands.check: _check,
}
