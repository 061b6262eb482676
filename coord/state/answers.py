"""Replies to reads that everybody may have, remembered by the very bytes of the request.

Owns which replies are remembered, and for how long: `get` answers a request that has come before without
looking into it, at the cost of one look-up. Knows neither znodes nor permissions.

Why a remembered reply is the right one: it is made of one znode and the list of its children, and nothing
else; whoever changes either says so (`forget`), before anybody can ask again. All changes go through the
methods of `Tree`, each of which does. What a rollback takes back was forgotten when it was done, and nothing
is remembered meanwhile, since nobody reads within a transaction. Another tree (a snapshot that was installed)
has other answers.

Only what needs nothing of the caller may be remembered: no watch is left, and the ACL lets anyone read.
"""

from __future__ import annotations

from collections.abc import Hashable

from coord.limits import ANSWER_BYTES_MAX, ANSWERS_BYTES_MAX, ANSWERS_MAX


class Answers:
    """Synopsis::

    answers.remember(node, request, reply)  # `request`: the opcode and the body, as they came
    answers.get(request)  # the reply's body; None if it is not remembered
    answers.forget(node)  # the znode, or its list of children, has changed
    """

    __slots__ = ("_bytes", "_replies", "_requests", "get")

    def __init__(self) -> None:
        self._replies: dict[bytes, bytes] = {}
        self._requests: dict[Hashable, list[bytes]] = {}
        """node -> the requests whose replies are remembered"""
        self._bytes = 0
        self.get = self._replies.get

    def __len__(self) -> int:
        return len(self._replies)

    def remember(self, node: Hashable, request: bytes, reply: bytes) -> None:
        """`reply` answers `request`, which is about `node`, until `forget(node)`."""
        size = len(request) + len(reply)
        if size > ANSWER_BYTES_MAX:
            return
        if len(self._replies) >= ANSWERS_MAX or self._bytes + size > ANSWERS_BYTES_MAX:
            self.clear()
        if self._replies.setdefault(request, reply) is reply:
            self._requests.setdefault(node, []).append(request)
            self._bytes += size

    def forget(self, node: Hashable) -> None:
        """What was remembered of `node` does not hold any more."""
        for request in self._requests.pop(node, ()):
            self._bytes -= len(request) + len(self._replies.pop(request))

    def clear(self) -> None:
        self._replies.clear()
        self._requests.clear()
        self._bytes = 0
