"""One controller among the brokers, and writes that only the present one can make.

Owns `/controller` (ephemeral: who it is) and `/controller_epoch` (how many there have been; its znode version
is the fence). What a controller does in its term is `controller`'s business.

Rules that hold here:

- `/controller` and the next epoch are written in one transaction: nobody is controller without a new epoch.
- A reply that was lost is decided by reading: it was us only if `/controller` is our session's, and our
  broker's, *and* the epoch was written in that very transaction.
- Every write of a term checks the version of `/controller_epoch`; one that comes too late is refused by the
  server.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from coord import (
    BadVersion,
    Client,
    ConnectionLost,
    Guard,
    Loss,
    NodeExists,
    NoNode,
    SessionExpired,
    Stat,
)
from recipes.beside import beside
from recipes.errors import ControllerMoved
from recipes.fence import FencedTransaction
from recipes.grant import Grant, Standing, let_go_of_name
from recipes.kafka import (
    CONTROLLER,
    CONTROLLER_EPOCH,
    decode_controller,
    decode_epoch,
    encode_controller,
)


@dataclass(frozen=True, slots=True)
class Elected:
    """What an election was won with."""

    broker_id: int
    epoch: int
    zk_version: int
    standing: Standing


class Term(Grant):
    """One controller's time in office. `epoch` counts controllers; `zk_version` is the fence's version."""

    def __init__(self, client: Client, chroot: str, elected: Elected, guard: Guard) -> None:
        what = f"controller {elected.broker_id} in epoch {elected.epoch}"
        super().__init__(client, elected.standing, guard, ControllerMoved, what)
        self.broker_id: Final = elected.broker_id
        self.epoch: Final = elected.epoch
        self.zk_version: Final = elected.zk_version
        self.chroot: Final = chroot

    def transaction(self) -> FencedTransaction:
        """A transaction that the server refuses once another controller has been elected."""
        fence = self.chroot + CONTROLLER_EPOCH
        return FencedTransaction(self._client.transaction(), fence, self.zk_version, self._found_gone)


async def campaign(client: Client, chroot: str, broker_id: int) -> Elected:
    """Wait until the office is free and take it."""
    while True:
        try:
            elected = await _until_free(client, chroot, broker_id) or await _stand(client, chroot, broker_id)
        except SessionExpired:
            continue
        if elected is not None:
            return elected


async def _until_free(client: Client, chroot: str, broker_id: int) -> Elected | None:
    """Every broker watches the one znode: each of them has to know the new controller anyway.

    Returns our own election, if it is that: a request that seemed lost may arrive after all.
    """
    while True:
        with client.watch() as watch:
            try:
                _, stat = await client.get(chroot + CONTROLLER, watch=watch)
            except NoNode:
                return None
            if stat.ephemeral_owner == client.session.id:
                ours = await _was_it_us(client, chroot, broker_id)
                if ours is not None:
                    return ours
            await watch.wait()


async def _stand(client: Client, chroot: str, broker_id: int) -> Elected | None:
    """Try to take the office; None if somebody else was faster."""
    path, fence = chroot + CONTROLLER, chroot + CONTROLLER_EPOCH
    epoch, version = await _read_epoch(client, fence)
    session_id = client.session.id
    transaction = client.transaction()
    data = encode_controller(broker_id, timestamp_ms=round(time.time() * 1000))
    transaction.create(path, data, ephemeral=True)
    transaction.set(fence, b"%d" % (epoch + 1), version=version)
    try:
        results = await transaction.commit()
    except (NodeExists, BadVersion):
        return None
    except ConnectionLost:
        return await _was_it_us(client, chroot, broker_id)
    # Both happened in one transaction, so the epoch's mzxid is the czxid of /controller.
    stat = results[1]
    assert isinstance(stat, Stat)
    return Elected(broker_id, epoch + 1, stat.version, Standing(path, stat.mzxid, session_id))


async def _was_it_us(client: Client, chroot: str, broker_id: int) -> Elected | None:
    path, fence = chroot + CONTROLLER, chroot + CONTROLLER_EPOCH
    try:
        data, stat = await client.get(path, linearizable=True)
        epoch, epoch_stat = await client.get(fence)
    except NoNode:
        return None
    mine = stat.ephemeral_owner == client.session.id and decode_controller(data) == broker_id
    if not mine or epoch_stat.mzxid != stat.czxid:
        return None  # the epoch is another one's
    standing = Standing(path, stat.czxid, stat.ephemeral_owner)
    return Elected(broker_id, decode_epoch(epoch), epoch_stat.version, standing)


async def _read_epoch(client: Client, fence: str) -> tuple[int, int]:
    """The last controller's epoch, and the version of its znode, which is made if missing."""
    while True:
        try:
            data, stat = await client.get(fence)
            return decode_epoch(data), stat.version
        except NoNode:
            try:
                await client.create(fence, b"0", make_parents=True)
            except (NodeExists, ConnectionLost):
                pass


@asynccontextmanager
async def reign(client: Client, chroot: str, broker_id: int, policy: Loss) -> AsyncIterator[Term]:
    """Waits to be elected, then is the block in which we are the controller; raises `ControllerMoved` when
    that ends before the block does."""
    term: Term | None = None
    try:
        elected = await campaign(client, chroot, broker_id)
        with client.session.guard(policy) as guard:
            term = Term(client, chroot, elected, guard)
            async with beside(lambda: _watch_office(client, term, guard)):
                yield term
    finally:
        # Also when the campaign was cancelled: the office may be ours without our knowing.
        await let_go_of_name(client, chroot + CONTROLLER)
    if term.lost:
        raise term.loss()


async def _watch_office(client: Client, term: Term, guard: Guard) -> None:
    await _until_replaced(client, term)
    guard.lose("/controller is somebody else's, or nobody's")


async def _until_replaced(client: Client, term: Term) -> None:
    while True:
        with client.watch() as watch:
            try:
                _, stat = await client.get(term.path, watch=watch)
                if stat.czxid != term.token:
                    return
                await watch.wait()
            except (NoNode, SessionExpired):
                return
