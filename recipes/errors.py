"""What recipes raise beyond coord's own errors.

All of them stand below `coord.errors.CoordError`, so that one `except` can catch everything of coord's.
"""

from __future__ import annotations

from coord.errors import CoordError


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


class LayoutConflict(CoordError):
    """A strict lock found contenders whose names its own layout cannot share a line with."""

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
