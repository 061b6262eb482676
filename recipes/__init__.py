"""Recipes: coordination made of znodes, on coord's client.

They work on coord's server and on Apache ZooKeeper alike, and share their paths with other clients: kazoo's
locks and elections, Curator's where asked for (``layout=CURATOR``), Kafka's brokers.

==================  =================================================  ====================================
`Lock`              one holder at a time, in order of arrival          ``async with Lock(zk, "/jobs/x"):``
`Election`          one leader; observers see who                      ``await Election(zk, "/lead").run(fn)``
`BrokerRegistry`    brokers register, watch each other,                ``async with registry.register(info):``
                    and elect a controller
`Topics`            partitions: created, moved, deleted; who leads     ``await topics.create("x", assign(…))``
                    them, and who is in sync
`Controller`        gives every partition a leader, whatever befalls   ``run_controller(1, controller.run)``
                    the brokers
==================  =================================================  ====================================

What they have in common:

- **The body stops in time.** The block of a lock, a leadership or a controller's term runs in a cancel scope
  whose deadline moves on only while the session is surely alive. When it passes, the body is cancelled and
  `LockLost`, `LeadershipLost` or `ControllerMoved` raised in its place: before anybody else can have been
  granted the same.
- **Every grant has a fence.** `Grant.token` rises with every grant anywhere in the ensemble, for stores that
  can refuse older ones; `Grant.transaction` is for ZooKeeper's own znodes: the server refuses it once the
  grant is gone.
- **Nothing is left behind.** A create whose reply was lost is found again; a wait that was cancelled has its
  znode deleted by the client; leaving a block never waits for a connection.
- **No callbacks, no threads, no state outside a block.** What one may want to follow is iterated over:
  states, the present one first, of which a slow reader misses those in between but never the last.

Synopsis::

    async with coord.connect("127.0.0.1:2181") as zk:
        async with Lock(zk, "/jobs/nightly", data=b"host7") as grant:
            report = await build()
            async with grant.transaction() as transaction:
                transaction.set("/jobs/last", report)

The pure parts (`line`, `kafka`, `kafka_requests`, `partitions`) know no server: order among names, Kafka's
JSON, the choice of leaders.
"""

from recipes.brokers import Broker, BrokerRegistry, BrokerView, Registration
from recipes.controller import Controller
from recipes.election import Election
from recipes.errors import (
    BrokerIdTaken,
    ControllerMoved,
    EndpointTaken,
    GrantLost,
    LayoutConflict,
    LeadershipLost,
    LockLost,
    NotLeader,
)
from recipes.grant import Grant
from recipes.kafka import BrokerInfo, Listener, PartitionState, TopicPartition, TopicRecord
from recipes.line import CURATOR, CURATOR_LATCH, KAZOO, Kind, Layout
from recipes.lock import Lock
from recipes.partitions import assign
from recipes.standing import Contender
from recipes.term import Term
from recipes.topics import Topics, TopicsView

__all__ = [
    "CURATOR",
    "CURATOR_LATCH",
    "KAZOO",
    "Broker",
    "BrokerIdTaken",
    "BrokerInfo",
    "BrokerRegistry",
    "BrokerView",
    "Contender",
    "Controller",
    "ControllerMoved",
    "Election",
    "EndpointTaken",
    "Grant",
    "GrantLost",
    "Kind",
    "Layout",
    "LayoutConflict",
    "LeadershipLost",
    "Listener",
    "Lock",
    "LockLost",
    "NotLeader",
    "PartitionState",
    "Registration",
    "Term",
    "TopicPartition",
    "TopicRecord",
    "Topics",
    "TopicsView",
    "assign",
]
