"""A billing job under a lock, with kazoo and with coord.

Every host runs the job, one at a time may do it. It charges each customer who is not marked as paid, and
marks him: so whoever takes over goes on where the one before was. What if the session ends while a customer
is being charged? The lock is gone then, and somebody else has it. kazoo's job does not know: it charges on,
and the customer pays twice. coord's is cancelled where it is.

`tests/demos/test_kazoo_job.py` shows both.

Synopsis::

    coord demo kazoo_job                     # or: python -m demos.kazoo_job
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

import trio

import coord
from demos._ported import perform, say
from recipes import Lock

if TYPE_CHECKING:
    from kazoo.client import KazooClient

LOCK: Final = "/billing/lock"
PAID: Final = "/billing/paid"
"""has a child for each customer who has paid"""
CUSTOMERS: Final = ("anna", "bert", "carl")


# -- with kazoo -----------------------------------------------------------------------------------------


def bill_with_kazoo(
    client: KazooClient, host: str, customers: Iterable[str], charge: Callable[[str], None]
) -> None:
    """`client` has been started. `charge` talks to the bank, and takes its time."""
    with client.Lock(LOCK, identifier=host):
        for customer in customers:
            paid = f"{PAID}/{customer}"
            if not client.retry(client.exists, paid):
                charge(customer)
                client.retry(client.ensure_path, paid)


# -- with coord -----------------------------------------------------------------------------------------


async def bill_with_coord(
    zk: coord.Client, host: str, customers: Iterable[str], charge: Callable[[str], Awaitable[None]]
) -> None:
    """Raises `LockLost` if the lock was lost on the way: what was under way has been cancelled."""
    await zk.ensure_path(PAID)
    async with Lock(zk, LOCK, data=host.encode()) as grant:
        for customer in customers:
            paid = f"{PAID}/{customer}"
            if not await zk.exists(paid):
                await charge(customer)
                async with grant.transaction() as transaction:  # refused once the lock is gone
                    transaction.create(paid)


# -- the programs ---------------------------------------------------------------------------------------


def run_with_kazoo(hosts: str) -> None:
    from kazoo.client import KazooClient

    client = KazooClient(hosts, timeout=10)
    client.start()
    try:
        bill_with_kazoo(client, "host1", CUSTOMERS, lambda customer: say(f"{customer} is charged"))
    finally:
        client.stop()
        client.close()


async def run_with_coord(hosts: str) -> None:
    async def charge(customer: str) -> None:
        say(f"{customer} is charged")
        await trio.lowlevel.checkpoint()

    async with coord.connect(hosts, timeout=10) as zk:
        await bill_with_coord(zk, "host1", CUSTOMERS, charge)


def main(argv: Sequence[str] | None = None) -> int:
    return perform("kazoo_job", __doc__, run_with_kazoo, run_with_coord, argv)


if __name__ == "__main__":
    sys.exit(main())
