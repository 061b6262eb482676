"""An operation that is one request and one reply: what is asked, and what the reply means.

Owns how it is begun and concluded by somebody who is no trio task (a thread, another loop). Must not know:
threads, how anybody waits.

Rules that hold here:

- `begin` and `abandon` are for the thread of the client's trio run; making one, and `result`, for any.
- The reply is read by whoever wants the result, and not in the trio thread.

Synopsis::

    single.begin(wake)  # calls wake() when there is an outcome
    data, stat = single.result()  # then; raises what became of it otherwise
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from coord.client.calls import Call
from coord.client.link import Link, reply_of

T = TypeVar("T")


class Single(NamedTuple, Generic[T]):
    """See the module's text."""

    link: Link
    call: Call
    read: Callable[[bytes], T]
    """makes the result of the reply's frame; pure"""

    def begin(self, wake: Callable[[], object]) -> None:
        """Has it asked. Raises `ClientClosed`."""
        self.call.waiter = wake
        self.link.submit(self.call)

    def abandon(self) -> None:
        """Nobody wants the result any more."""
        self.link.abandon(self.call)

    def result(self) -> T:
        """What it came to, after `wake`."""
        return self.read(reply_of(self.call))
