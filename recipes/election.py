"""Electing one leader among many, who steps down when the leadership can no longer be guaranteed.

Owns campaigns, terms, and watching who leads. An election is a lock whose holder is of interest to others:
the line, the grant and the rules of losing it are the lock's.

Synopsis::

    election = Election(zk, "/service/leader", data=b"host7:8080")
    await election.run(serve)  # serve(term) for as long as we lead, again after every loss

    async with election.observe() as leaders:
        async for leader in leaders:  # a Contender, or None while nobody leads
            ...
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, TypeVar

import trio

from coord import ACL, Client, Loss, SessionExpired, States, Watch
from recipes.errors import LeadershipLost
from recipes.grant import Grant
from recipes.line import KAZOO, Layout
from recipes.lock import Lock
from recipes.standing import Contender, Line

T = TypeVar("T")

PAUSE_SECONDS: Final = 1.0
"""After a loss, `run` campaigns again within this time, at random: not everybody at once."""


class _Candidacy(Lock):
    _loss = LeadershipLost
    _what = "leadership of"


class Election:
    """An election at `path`; `data` is what observers see of us. `layout` CURATOR joins LeaderSelectors,
    CURATOR_LATCH LeaderLatches."""

    def __init__(
        self,
        zk: Client,
        path: str,
        data: bytes = b"",
        *,
        layout: Layout = KAZOO,
        policy: Loss = Loss.DEADLINE,
        strict: bool = False,
        acl: Sequence[ACL] | None = None,
    ) -> None:
        self._zk = zk
        self.path = path
        self._line = Line(zk, path, layout, strict=strict, acl=acl)
        self._candidacy = _Candidacy(zk, path, data, layout=layout, policy=policy, strict=strict, acl=acl)

    def lead(self) -> AbstractAsyncContextManager[Grant]:
        """One term: waits until elected; raises `LeadershipLost` when the term ended before the block."""
        return self._candidacy.acquire()

    async def run(self, fn: Callable[[Grant], Awaitable[T]], *, pause: float = PAUSE_SECONDS) -> T:
        """Call `fn(term)` when elected and return its result; when a term is lost, campaign again.

        `fn` is cancelled at the end of its term, and called anew in the next one. A result that came after
        the term had ended is dropped, since another leader may have been at work. Its exceptions pass, unless
        the term was lost and they say no more than that (a group of them neither).
        """
        while True:
            term: Grant | None = None
            try:
                async with self.lead() as term:
                    return await fn(term)
            except (LeadershipLost, SessionExpired, ExceptionGroup) as failure:
                if term is None or not term.lost or not _tells_of_loss(failure):
                    raise
            await trio.sleep(random.uniform(0, pause))

    async def contenders(self) -> list[Contender]:
        """Everybody in line, the leader first."""
        return await self._line.contenders()

    def observe(self) -> States[Contender | None]:
        """Watch who leads: a channel of states, the present one first, each once it differs.

        To be used as ``async with election.observe() as leaders:``. States, not events: a leader of a moment,
        gone before we looked, is not reported.
        """
        return States(self._zk.watch(), self._leader, lambda leader: leader)

    async def _leader(self, watch: Watch) -> Contender | None:
        return next(iter(await self._line.holders(watch)), None)

    async def request_release(self) -> int:
        """Ask the leader to step down (`Grant.wait_revoked`), who need not; returns how many were asked."""
        return await self._line.request_release()


def _tells_of_loss(failure: Exception) -> bool:
    """Is it nothing but what comes of a session's end, in as many tasks as there were?"""
    if isinstance(failure, ExceptionGroup):
        return all(map(_tells_of_loss, failure.exceptions))
    return isinstance(failure, (LeadershipLost, SessionExpired))
