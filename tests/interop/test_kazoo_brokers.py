"""kazoo beside a cluster of brokers, with the bytes that Kafka's old tools write and read by its like."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import trio
from kazoo.client import KazooClient

import coord
from recipes import BrokerInfo, BrokerRegistry, Controller, TopicPartition, Topics
from tests.recipes.cluster import until, until_gone, until_led

ORDERS = TopicPartition("orders", 0)


@pytest.mark.trio
async def test_kazoo_creates_moves_and_deletes_a_topic_and_reads_what_became_of_it(
    kazoo: KazooClient,
) -> None:
    host, port = kazoo.hosts[0]

    async def ask(fn: Callable[..., Any], *args: Any, **options: Any) -> Any:
        return await trio.to_thread.run_sync(lambda: fn(*args, **options))

    async def read(path: str) -> Any:
        return json.loads((await ask(kazoo.get, path))[0])

    async with coord.connect(f"{host}:{port}", timeout=30) as zk, trio.open_nursery() as nursery:
        registry, topics = BrokerRegistry(zk), Topics(zk)
        async with (
            registry.register(BrokerInfo(1, [("PLAINTEXT", "host1", 9092)], rack="a")),
            registry.register(BrokerInfo(2, [("PLAINTEXT", "host2", 9092)])),
        ):
            nursery.start_soon(registry.run_controller, 1, Controller(zk, assume_in_sync=True).run)
            broker = await read("/brokers/ids/1")
            assert (broker["host"], broker["port"], broker["rack"]) == ("host1", 9092, "a")

            topic = {"version": 1, "partitions": {"0": [1, 2]}}
            await ask(kazoo.create, "/brokers/topics/orders", json.dumps(topic).encode(), makepath=True)
            await until_led(topics, 1)
            state = await read("/brokers/topics/orders/partitions/0/state")
            assert (state["leader"], state["isr"], state["version"]) == (1, [1, 2], 1)
            assert (await read("/controller"))["brokerid"] == 1

            move = {"version": 1, "partitions": [{"topic": "orders", "partition": 0, "replicas": [2]}]}
            await ask(kazoo.create, "/admin/reassign_partitions", json.dumps(move).encode(), makepath=True)
            await until_gone(zk, "/admin/reassign_partitions")
            assert (await read("/brokers/topics/orders"))["partitions"] == {"0": [2]}
            assert (await read("/brokers/topics/orders/partitions/0/state"))["isr"] == [2]

            await ask(kazoo.create, "/admin/delete_topics/orders", b"", makepath=True)
            await until(topics, lambda view: not view.topics)
            assert await ask(kazoo.get_children, "/brokers/topics") == []
            nursery.cancel_scope.cancel()
