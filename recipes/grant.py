"""What a recipe grants, and the block that lets go of it: shared by locks, elections and controllers.

Owns the end of a grant, in whatever way it comes. Standing in line for one is `standing`'s business.

Rules that hold here:

- The body runs in the session's guard: a cancel scope whose deadline moves on only while the session is
  surely alive. There is no nursery around the body, so its exceptions leave as they are.
- A grant that was lost raises its error bare. The body's own exception wins over it (with a note), and a
  cancellation from outside passes untouched.
- Letting go never waits for a connection: a short, shielded attempt while connected, else the client's
  janitor.
- Which grant is held is known to one `Grant` object, and to nothing that lives longer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import trio

from coord import Client, CoordError, Guard, Loss, NoNode, SessionState
from recipes.errors import GrantLost
from recipes.fence import FencedTransaction

RELEASE_SECONDS: Final = 1.0
"""How long leaving a block may wait for the server's answer to the delete."""


@dataclass(frozen=True, slots=True)
class Standing:
    """An ephemeral znode of ours: what proves a grant."""

    path: str
    czxid: int
    session_id: int
    mark: bytes | None = None
    """what only we write into its data, if others may use its name after us"""

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


class Grant:
    """A right held by one znode of one session, until the block ends or the session can not be guaranteed.

    `token` is the zxid that created the znode: 64 bits, rising with every grant everywhere in the ensemble.
    Hand it to whatever the work writes to, so that it can refuse older ones.
    """

    def __init__(
        self, client: Client, standing: Standing, guard: Guard, error: type[GrantLost], what: str
    ) -> None:
        """`what` names the right in messages, e.g. ``lock /jobs``."""
        self.path: Final = standing.path
        self.token: Final = standing.czxid
        self.session_id: Final = standing.session_id
        self._client = client
        self._guard = guard
        self._error = error
        self._what = what
        self._gone = client.session.id != standing.session_id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._what} token={self.token:#x}{' lost' if self.lost else ''}>"

    @property
    def lost(self) -> bool:
        """Whether the guarantee lapsed before the block was through."""
        return self._gone or self._guard.lost

    def loss(self, why: str = "") -> GrantLost:
        """The error that says this grant is gone, and why."""
        return self._error(f"{self._what} lost: {why or self._guard.reason}", path=self.path)

    def ensure(self) -> None:
        """Raise the grant's error if it is lost. No checkpoint: to be called right before a side effect."""
        if self.lost:
            raise self.loss()

    async def verify(self) -> None:
        """Ask the server whether our znode is still there and ours; raise the grant's error if not."""
        self.ensure()
        stat = await self._client.exists(self.path, linearizable=True)
        if stat is None or stat.czxid != self.token or stat.ephemeral_owner != self.session_id:
            self._gone = True
        if self._gone:
            raise self.loss("its znode is gone")
        self.ensure()

    def transaction(self) -> FencedTransaction:
        """A transaction that the server refuses once this grant is gone."""
        # Any version: Curator's revokers write into the znode, and its existence is what counts.
        return FencedTransaction(self._client.transaction(), self.path, -1, self.loss)


@asynccontextmanager
async def holding(
    client: Client,
    standing: Standing,
    *,
    error: type[GrantLost],
    what: str,
    policy: Loss,
    raise_loss: bool = True,
    release: Callable[[], Awaitable[object]] | None = None,
) -> AsyncIterator[Grant]:
    """The block in which a grant is held; `raise_loss` False only cancels the body and sets `Grant.lost`.

    `release` is called at its end, instead of `let_go`, and has to keep the same rules.
    """
    grant: Grant | None = None
    try:
        with client.session.guard(policy) as guard:
            grant = Grant(client, standing, guard, error, what)
            yield grant
    except BaseException as failure:
        if grant is not None and grant.lost and not isinstance(failure, (trio.Cancelled, GrantLost)):
            failure.add_note(str(grant.loss()))
        raise
    finally:
        await (let_go(client, standing) if release is None else release())
    if grant.lost and raise_loss:
        raise grant.loss()


async def let_go(client: Client, standing: Standing, seconds: float = RELEASE_SECONDS) -> None:
    """Delete our znode: now, if the server answers within `seconds`; else the janitor does it later.

    Never raises and is never cancelled, and returns at once while there is no connection.
    """
    if client.session.id != standing.session_id:
        return  # the server deletes the znodes of a session that is gone
    if client.session.state.value is SessionState.CONNECTED:
        with trio.move_on_after(seconds, shield=True):
            try:
                mine = standing.mark is None or standing.mark in (await client.get(standing.path))[0]
                if mine and client.session.id == standing.session_id:
                    await client.delete(standing.path)
                return
            except NoNode:
                return
            except CoordError:
                pass
    client.janitor.delete(standing.path, mark=standing.mark)


async def let_go_of_name(client: Client, path: str, held: Standing | None) -> None:
    """Like `let_go`, for a znode whose name others use too: only what our own session made is deleted.

    `held` is what we know to hold; without it, one may have been made by a request whose reply we did not
    await.
    """
    session_id = client.session.id
    if client.session.state.value is SessionState.CONNECTED:
        with trio.move_on_after(RELEASE_SECONDS, shield=True):
            try:
                stat = await client.exists(path)
                if stat is not None and stat.ephemeral_owner == session_id == client.session.id:
                    await client.delete(path)
                return
            except NoNode:
                return
            except CoordError:
                pass
    if held is not None and held.session_id == client.session.id:
        client.janitor.delete(path)
