"""Recipes: coordination made of znodes, on coord's client.

They work on coord's server and on Apache ZooKeeper alike, and share their paths with other clients: kazoo's
by default, Curator's where asked for (``layout=CURATOR``), Kafka's brokers.

==================  =================================================  ====================================
`Lock`              one holder at a time, in order of arrival          ``async with Lock(zk, "/jobs/x"):``
`ReadWriteLock`     many readers or one writer, in order of arrival    ``async with rw.read:``
`Semaphore`         at most so many at a time                          ``async with Semaphore(zk, "/x", 5):``
`Election`          one leader; observers see who                      ``await Election(zk, "/lead").run(fn)``
`Barrier`           closed or open; who waits goes on when opened      ``await Barrier(zk, "/gate").wait()``
`DoubleBarrier`     members start together and finish together         ``async with DoubleBarrier(zk, p, 3):``
`Queue`             an item is held while it is worked on, then        ``async with queue.take() as item:``
                    consumed, or given back
`Counter`           a number that many change                          ``await Counter(zk, "/hits").add(1)``
`Party`             who is there, now and whenever that changes        ``async with party.join(b"host7"):``
`Cache`             a live copy of a tree, and what changes in it      ``async with Cache(zk, "/a") as tree:``
`watch_config`      the latest good value of a znode                   ``async with watch_config(zk, "/a"):``
`Partitioner`       items shared out among members, each worked on     ``await Partitioner(zk, p, xs).run(f)``
                    by one
`Lease`             by the wall clock, beyond sessions and processes   ``await Lease(zk, "/l", 3600).take()``
`BrokerRegistry`    brokers register, watch each other, and elect a    ``async with registry.register(info):``
                    controller
`Topics`            partitions: created, moved, deleted; who leads     ``await topics.create("x", assign(…))``
                    them, and who is in sync
`Controller`        gives every partition a leader, whatever befalls   ``run_controller(1, controller.run)``
                    the brokers
==================  =================================================  ====================================

What they have in common:

- **The body stops in time.** The block of whatever is held (a lock, a permit, an item, a term) runs in a
  cancel scope whose deadline moves on only while the session is surely alive. When it passes, the body is
  cancelled and `LockLost` or another `GrantLost` raised in its place: before anybody else can have been
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

The pure parts (`line`, `permits`, `entries`, `membership`, `tree`, `kafka`, `kafka_requests`, `partitions`)
know no server: names and their order, bytes, choices.
"""

from recipes.barrier import Barrier
from recipes.brokers import Broker, BrokerRegistry, BrokerView, Registration
from recipes.cache import Cache, CachedTree, CacheEvents
from recipes.config import LiveConfig, watch_config
from recipes.controller import Controller
from recipes.counter import INT32, INT64, TEXT, Counter
from recipes.double_barrier import DoubleBarrier
from recipes.election import Election
from recipes.entries import BadEntry
from recipes.errors import (
    BarrierLost,
    BrokerIdTaken,
    ControllerMoved,
    EndpointTaken,
    GrantLost,
    ItemLost,
    LayoutConflict,
    LeadershipLost,
    LockLost,
    MemberNameTaken,
    NotLeader,
    OutcomeUnknown,
    PermitLost,
    SemaphoreMismatch,
)
from recipes.grant import Grant
from recipes.kafka import BrokerInfo, Listener, PartitionState, TopicPartition, TopicRecord
from recipes.lease import Held, Lease, MultiLease
from recipes.line import CURATOR, CURATOR_LATCH, KAZOO, KAZOO_SHALLOW, Kind, Layout
from recipes.lock import Lock
from recipes.membership import Member, PartyView
from recipes.partitioner import Partitioner
from recipes.partitions import assign
from recipes.party import Membership, Party, PartyChanges
from recipes.queue import Item, Queue
from recipes.read_write_lock import ReadWriteLock
from recipes.semaphore import Semaphore
from recipes.standing import Contender
from recipes.term import Term
from recipes.topics import Topics, TopicsView
from recipes.tree import Added, Removed, Updated

__all__ = [
    "CURATOR",
    "CURATOR_LATCH",
    "INT32",
    "INT64",
    "KAZOO",
    "KAZOO_SHALLOW",
    "TEXT",
    "Added",
    "BadEntry",
    "Barrier",
    "BarrierLost",
    "Broker",
    "BrokerIdTaken",
    "BrokerInfo",
    "BrokerRegistry",
    "BrokerView",
    "Cache",
    "CacheEvents",
    "CachedTree",
    "Contender",
    "Controller",
    "ControllerMoved",
    "Counter",
    "DoubleBarrier",
    "Election",
    "EndpointTaken",
    "Grant",
    "GrantLost",
    "Held",
    "Item",
    "ItemLost",
    "Kind",
    "Layout",
    "LayoutConflict",
    "LeadershipLost",
    "Lease",
    "Listener",
    "LiveConfig",
    "Lock",
    "LockLost",
    "Member",
    "MemberNameTaken",
    "Membership",
    "MultiLease",
    "NotLeader",
    "OutcomeUnknown",
    "PartitionState",
    "Partitioner",
    "Party",
    "PartyChanges",
    "PartyView",
    "PermitLost",
    "Queue",
    "ReadWriteLock",
    "Registration",
    "Removed",
    "Semaphore",
    "SemaphoreMismatch",
    "Term",
    "TopicPartition",
    "TopicRecord",
    "Topics",
    "TopicsView",
    "Updated",
    "assign",
    "watch_config",
]
