"""What recipes raise beyond coord's own errors.

All of them stand below `coord.errors.CoordError`, so that one `except` can catch everything of coord's.
"""

from __future__ import annotations

from coord.errors import ConnectionLost, CoordError


class GrantLost(CoordError):
    """What was granted (a lock, leadership, the controller's office) can no longer be guaranteed.

    The body it protected was cancelled, and this is raised in its place, bare: never inside a group.
    """

    explanation = "the grant was lost"


class LockLost(GrantLost):
    """The lock can no longer be guaranteed: somebody else may hold it now."""

    explanation = "the lock was lost"


class LeadershipLost(GrantLost):
    """The leadership can no longer be guaranteed: somebody else may lead now."""

    explanation = "the leadership was lost"


class ControllerMoved(GrantLost):
    """This controller's term is over: another one was elected, or may have been."""

    explanation = "the controller has moved"


class PermitLost(GrantLost):
    """The permit can no longer be guaranteed: somebody else may have been given it."""

    explanation = "the permit was lost"


class SemaphoreMismatch(CoordError):
    """The semaphore's stored limit is not the one that we were told."""

    explanation = "the semaphore has another limit"


class ItemLost(GrantLost):
    """The item taken from a queue can no longer be guaranteed: somebody else may have it now."""

    explanation = "the item was lost"


class OutcomeUnknown(ConnectionLost):
    """A reply was lost, and nothing that can be read tells whether the change was made.

    Making it again may make it twice; recipes do so by themselves where asked for with `at_least_once`.
    """

    explanation = "the reply was lost; whether it was done is unknown, and cannot be found out"


class BarrierLost(GrantLost):
    """The place in the double barrier can no longer be guaranteed: the others may have gone on."""

    explanation = "the place in the barrier was lost"


class MemberNameTaken(CoordError):
    """Another live session is a member under this name."""

    explanation = "the member's name is taken"


class LayoutConflict(CoordError):
    """Contenders were found with whom exclusion cannot work: one side misreads the other's names.

    Nothing was granted, and no znode of ours is left behind.
    """

    explanation = "contenders of another layout stand in the same line"


class BrokerIdTaken(CoordError):
    """Another live session is registered under this broker id."""

    explanation = "the broker id is taken"


class EndpointTaken(CoordError):
    """Another broker is registered with the same host and port."""

    explanation = "the endpoint is taken"


class NotLeader(CoordError):
    """A broker spoke for a partition that it does not lead, or no longer in that leader epoch."""

    explanation = "the broker does not lead this partition"
