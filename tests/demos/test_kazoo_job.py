"""The billing job, with kazoo and with coord: alone, one after the other, and when the session ends in it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import trio
from kazoo.client import KazooClient

import coord
from coord.testing import EmbeddedServer, ServerHandle
from demos.kazoo_job import CUSTOMERS, bill_with_coord, bill_with_kazoo
from recipes import LockLost
from tests.kazoo_client import kazoo_client


@pytest.fixture
def client(coord_server: ServerHandle) -> Iterator[KazooClient]:
    with kazoo_client(coord_server.connect_string) as client:
        yield client


@pytest.fixture
def other(coord_server: ServerHandle) -> Iterator[KazooClient]:
    with kazoo_client(coord_server.connect_string) as client:
        yield client


def test_with_kazoo_each_pays_once(client: KazooClient, other: KazooClient) -> None:
    charged: list[str] = []
    bill_with_kazoo(client, "host1", CUSTOMERS, charged.append)
    bill_with_kazoo(other, "host2", CUSTOMERS, charged.append)
    assert charged == list(CUSTOMERS)


@pytest.mark.trio
async def test_with_coord_each_pays_once(coord_trio_server: EmbeddedServer) -> None:
    charged: list[str] = []

    async def charge(customer: str) -> None:
        charged.append(customer)

    async with coord.connect(coord_trio_server.connect_string) as zk:
        await bill_with_coord(zk, "host1", CUSTOMERS, charge)
    async with coord.connect(coord_trio_server.connect_string) as zk:
        await bill_with_coord(zk, "host2", CUSTOMERS, charge)
    assert charged == list(CUSTOMERS)


def test_kazoos_job_goes_on_without_the_lock(
    coord_server: ServerHandle, client: KazooClient, other: KazooClient
) -> None:
    charged: list[tuple[str, str]] = []

    def charge(customer: str) -> None:
        if customer == "bert":
            coord_server.expire_session(client)
            takes_over = threading.Thread(
                target=bill_with_kazoo,
                args=(other, "host2", CUSTOMERS, lambda one: charged.append(("host2", one))),
            )
            takes_over.start()
            takes_over.join()
        charged.append(("host1", customer))

    bill_with_kazoo(client, "host1", CUSTOMERS, charge)  # and raises nothing
    assert charged == [("host1", "anna"), ("host2", "bert"), ("host2", "carl"), ("host1", "bert")]


@pytest.mark.trio
async def test_coords_job_is_stopped(coord_trio_server: EmbeddedServer, autojump_clock: object) -> None:
    charged: list[tuple[str, str]] = []

    async with (
        coord.connect(coord_trio_server.connect_string) as zk,
        coord.connect(coord_trio_server.connect_string) as other,
    ):

        async def charge(customer: str) -> None:
            if customer == "bert":
                await coord_trio_server.expire_session(zk)
                await trio.sleep(60)  # the bank takes its time
            charged.append(("host1", customer))

        async def charge_next(customer: str) -> None:
            charged.append(("host2", customer))

        with pytest.raises(LockLost):
            await bill_with_coord(zk, "host1", CUSTOMERS, charge)
        await bill_with_coord(other, "host2", CUSTOMERS, charge_next)
    assert charged == [("host1", "anna"), ("host2", "bert"), ("host2", "carl")]
