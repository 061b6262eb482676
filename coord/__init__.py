"""Coordination for Python: a ZooKeeper-compatible server, a trio client, and recipes that let go.

The public names of the client; the recipes are in the package `recipes`. For programs without trio there are
`coord.blocking` (threads) and `coord.aio` (asyncio), which have all of both.

Synopsis::

    import coord, trio


    async def main():
        async with coord.connect("127.0.0.1:2181") as zk:
            await zk.create("/hello", b"world")


    trio.run(main)
"""

from coord.client.calls import SessionHandle, SessionState
from coord.client.client import Client, connect
from coord.client.guarantee import Guard, LiveSession, Loss
from coord.client.janitor import Janitor
from coord.client.operations import GetChildren, GetData
from coord.client.requests import CREATOR_ACL, OPEN_ACL, READ_ACL
from coord.client.transaction import Transaction
from coord.client.watches import WatchEvent
from coord.client.watching import Events, Node, Resynced, States, Watch
from coord.errors import (
    ApiError,
    AuthFailed,
    BadArguments,
    BadVersion,
    ClientClosed,
    ConfigError,
    ConnectionLost,
    CoordError,
    DataInconsistency,
    EphemeralOnLocalSession,
    ErrorCode,
    ForkedClient,
    InvalidACL,
    InvalidCallback,
    MarshallingError,
    NewConfigNoQuorum,
    NoAuth,
    NoChildrenForEphemerals,
    NodeExists,
    NoNode,
    NotEmpty,
    NotReadOnly,
    NoWatcher,
    OperationTimeout,
    ProtocolError,
    QuotaExceeded,
    ReconfigDisabled,
    ReconfigInProgress,
    RequestFailed,
    RequestTimeout,
    RequestTooLarge,
    RolledBack,
    SessionClosedRequireSaslAuth,
    SessionExpired,
    SessionMoved,
    SystemFailure,
    ThrottledOp,
    Unimplemented,
    UnknownSession,
)
from coord.wire.records import ACL, CreateMode, EventType, Id, Perms, Stat

__all__ = [
    "ACL",
    "CREATOR_ACL",
    "OPEN_ACL",
    "READ_ACL",
    "ApiError",
    "AuthFailed",
    "BadArguments",
    "BadVersion",
    "Client",
    "ClientClosed",
    "ConfigError",
    "ConnectionLost",
    "CoordError",
    "CreateMode",
    "DataInconsistency",
    "EphemeralOnLocalSession",
    "ErrorCode",
    "EventType",
    "Events",
    "ForkedClient",
    "GetChildren",
    "GetData",
    "Guard",
    "Id",
    "InvalidACL",
    "InvalidCallback",
    "Janitor",
    "LiveSession",
    "Loss",
    "MarshallingError",
    "NewConfigNoQuorum",
    "NoAuth",
    "NoChildrenForEphemerals",
    "NoNode",
    "NoWatcher",
    "Node",
    "NodeExists",
    "NotEmpty",
    "NotReadOnly",
    "OperationTimeout",
    "Perms",
    "ProtocolError",
    "QuotaExceeded",
    "ReconfigDisabled",
    "ReconfigInProgress",
    "RequestFailed",
    "RequestTimeout",
    "RequestTooLarge",
    "Resynced",
    "RolledBack",
    "SessionClosedRequireSaslAuth",
    "SessionExpired",
    "SessionHandle",
    "SessionMoved",
    "SessionState",
    "Stat",
    "States",
    "SystemFailure",
    "ThrottledOp",
    "Transaction",
    "Unimplemented",
    "UnknownSession",
    "Watch",
    "WatchEvent",
    "connect",
]
