"""Every error coord raises: one class per ZooKeeper error code, all below `CoordError`.

Synopsis::

    try:
        await zk.create("/jobs", b"")
    except coord.NodeExists as error:
        print(error.path, error.operation)  # /jobs create

Rules that hold here:

- A class stands for exactly one code of ZooKeeper's `KeeperException.Code`, and a code for one class.
- Three groups matter to a caller: `RequestFailed` (the server answered: nothing was changed),
  `ConnectionLost` (no answer came: the outcome is unknown) and `SessionExpired` (the session, its
  ephemeral znodes and its watches are gone).
- This module knows neither bytes nor sockets; the wire carries the integers in `ErrorCode`.
"""

from __future__ import annotations

from enum import IntEnum


class ErrorCode(IntEnum):
    """The integers of ZooKeeper's protocol (`KeeperException.Code`)."""

    OK = 0
    SYSTEM_ERROR = -1
    RUNTIME_INCONSISTENCY = -2
    DATA_INCONSISTENCY = -3
    CONNECTION_LOSS = -4
    MARSHALLING_ERROR = -5
    UNIMPLEMENTED = -6
    OPERATION_TIMEOUT = -7
    BAD_ARGUMENTS = -8
    UNKNOWN_SESSION = -12
    NEW_CONFIG_NO_QUORUM = -13
    RECONFIG_IN_PROGRESS = -14
    API_ERROR = -100
    NO_NODE = -101
    NO_AUTH = -102
    BAD_VERSION = -103
    NO_CHILDREN_FOR_EPHEMERALS = -108
    NODE_EXISTS = -110
    NOT_EMPTY = -111
    SESSION_EXPIRED = -112
    INVALID_CALLBACK = -113
    INVALID_ACL = -114
    AUTH_FAILED = -115
    SESSION_MOVED = -118
    NOT_READ_ONLY = -119
    EPHEMERAL_ON_LOCAL_SESSION = -120
    NO_WATCHER = -121
    REQUEST_TIMEOUT = -122
    RECONFIG_DISABLED = -123
    SESSION_CLOSED_REQUIRE_SASL_AUTH = -124
    QUOTA_EXCEEDED = -125
    THROTTLED_OP = -127


class CoordError(Exception):
    """Base of every error that coord raises.

    `path` is the znode the operation named (as the caller wrote it, without the chroot) and
    `operation` its name, e.g. ``"create"``; both are "" where there is none.
    """

    code: ErrorCode = ErrorCode.SYSTEM_ERROR
    explanation: str = "the operation failed"

    def __init__(self, explanation: str = "", *, path: str = "", operation: str = "") -> None:
        self.path = path
        self.operation = operation
        text = explanation or self.explanation
        where = " ".join(part for part in (operation, path) if part)
        super().__init__(f"{where}: {text}" if where else text)


class RequestFailed(CoordError):
    """The server answered with an error: it changed nothing.

    If it was a transaction that failed, `results` has what became of each of its operations: `RolledBack`,
    or, for the one at fault, this very error.
    """

    results: tuple[CoordError, ...] = ()


class ConfigError(CoordError):
    """A configuration file or argument is wrong; the message says where and what was expected."""


class ProtocolError(CoordError):
    """The peer sent bytes that its protocol does not allow."""

    code = ErrorCode.MARSHALLING_ERROR
    explanation = "the peer sent something that is not ZooKeeper's protocol"


class ConnectionLost(CoordError):
    """The connection went away before the answer came: the operation may or may not have happened."""

    code = ErrorCode.CONNECTION_LOSS
    explanation = "the connection was lost before the reply came; whether it happened is unknown"


class RequestTooLarge(ConnectionLost):
    """The connection was lost with a request larger than servers take by default: they just close."""

    def __init__(self, size: int, *, path: str = "", operation: str = "") -> None:
        super().__init__(
            f"the connection was lost with this request of {size} bytes in it; a server closes the "
            "connection at one above its limit (jute.maxbuffer, 1048575 bytes unless configured)",
            path=path,
            operation=operation,
        )
        self.size = size


class SessionExpired(CoordError):
    """The session is over: its ephemeral znodes are deleted and its watches are gone."""

    code = ErrorCode.SESSION_EXPIRED
    explanation = "the session has expired"


class ClientClosed(CoordError):
    """The client was used after its `async with` block had ended."""

    explanation = "the client is closed"


class ForkedClient(ClientClosed):
    """The client was made before a fork and is its parent process's: a child connects anew."""

    explanation = "the client belongs to the process that connected it; after a fork, connect anew"


class AuthFailed(CoordError):
    """The server refused the credentials, or does not know the scheme; the session is unusable."""

    code = ErrorCode.AUTH_FAILED
    explanation = "the server refused the credentials"


class SystemFailure(RequestFailed):
    code = ErrorCode.SYSTEM_ERROR
    explanation = "the server failed"


class RolledBack(RequestFailed):
    """An operation of a transaction that was undone or never tried, because another one failed."""

    code = ErrorCode.RUNTIME_INCONSISTENCY
    explanation = "not done: another operation of the transaction failed"


class DataInconsistency(RequestFailed):
    code = ErrorCode.DATA_INCONSISTENCY
    explanation = "the server's data is inconsistent"


class MarshallingError(RequestFailed):
    code = ErrorCode.MARSHALLING_ERROR
    explanation = "the server could not read the request"


class Unimplemented(RequestFailed):
    code = ErrorCode.UNIMPLEMENTED
    explanation = "the server does not offer this operation"


class OperationTimeout(RequestFailed):
    code = ErrorCode.OPERATION_TIMEOUT
    explanation = "the server gave up waiting"


class BadArguments(RequestFailed):
    code = ErrorCode.BAD_ARGUMENTS
    explanation = "the server refused the arguments (an invalid path, or flags it does not know)"


class UnknownSession(RequestFailed):
    code = ErrorCode.UNKNOWN_SESSION
    explanation = "the server does not know this session"


class NewConfigNoQuorum(RequestFailed):
    code = ErrorCode.NEW_CONFIG_NO_QUORUM
    explanation = "no quorum of the new configuration is connected"


class ReconfigInProgress(RequestFailed):
    code = ErrorCode.RECONFIG_IN_PROGRESS
    explanation = "another reconfiguration is in progress"


class ApiError(RequestFailed):
    code = ErrorCode.API_ERROR
    explanation = "the server reports an error of the API"


class NoNode(RequestFailed):
    code = ErrorCode.NO_NODE
    explanation = "there is no such znode"


class NoAuth(RequestFailed):
    code = ErrorCode.NO_AUTH
    explanation = "the znode's ACL does not allow it"


class BadVersion(RequestFailed):
    code = ErrorCode.BAD_VERSION
    explanation = "the znode has another version"


class NoChildrenForEphemerals(RequestFailed):
    code = ErrorCode.NO_CHILDREN_FOR_EPHEMERALS
    explanation = "an ephemeral znode cannot have children"


class NodeExists(RequestFailed):
    code = ErrorCode.NODE_EXISTS
    explanation = "the znode exists already"


class NotEmpty(RequestFailed):
    code = ErrorCode.NOT_EMPTY
    explanation = "the znode has children"


class InvalidCallback(RequestFailed):
    code = ErrorCode.INVALID_CALLBACK
    explanation = "the server reports an invalid callback"


class InvalidACL(RequestFailed):
    code = ErrorCode.INVALID_ACL
    explanation = "the ACL is empty or not valid (or `auth` was used without credentials)"


class SessionMoved(RequestFailed):
    code = ErrorCode.SESSION_MOVED
    explanation = "the session has moved to another server"


class NotReadOnly(RequestFailed):
    code = ErrorCode.NOT_READ_ONLY
    explanation = "the server is read-only"


class EphemeralOnLocalSession(RequestFailed):
    code = ErrorCode.EPHEMERAL_ON_LOCAL_SESSION
    explanation = "a local session cannot own an ephemeral znode"


class NoWatcher(RequestFailed):
    code = ErrorCode.NO_WATCHER
    explanation = "there is no such watch"


class RequestTimeout(RequestFailed):
    code = ErrorCode.REQUEST_TIMEOUT
    explanation = "the request timed out"


class ReconfigDisabled(RequestFailed):
    code = ErrorCode.RECONFIG_DISABLED
    explanation = "reconfiguration is disabled"


class SessionClosedRequireSaslAuth(RequestFailed):
    code = ErrorCode.SESSION_CLOSED_REQUIRE_SASL_AUTH
    explanation = "the server wants authentication first"


class QuotaExceeded(RequestFailed):
    code = ErrorCode.QUOTA_EXCEEDED
    explanation = "a quota is used up"


class ThrottledOp(RequestFailed):
    code = ErrorCode.THROTTLED_OP
    explanation = "the server is overloaded and threw the request away"


_CLASSES: tuple[type[CoordError], ...] = (
    *RequestFailed.__subclasses__(),
    ConnectionLost,
    SessionExpired,
    AuthFailed,
)
_CLASS_OF: dict[int, type[CoordError]] = {cls.code: cls for cls in _CLASSES}


def error_of(code: int, *, path: str = "", operation: str = "") -> CoordError:
    """The exception for an error code off the wire; a code ZooKeeper does not list says so in its text."""
    cls = _CLASS_OF.get(code)
    if cls is None:
        return RequestFailed(f"the server answered with error code {code}", path=path, operation=operation)
    return cls(path=path, operation=operation)
