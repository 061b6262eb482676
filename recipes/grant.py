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

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import trio

from coord import Client, CoordError, Guard, Loss, NoNode, SessionExpired, SessionState
from recipes.errors import GrantLost
from recipes.fence import FencedTransaction

RELEASE_SECONDS: Final = 1.0
"""How long leaving a block may wait for the server's answer to the delete."""

REVOKE: Final = b"__REVOKE__"
"""What Curator's Revoker writes into a holder's znode to ask for its release."""


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
        """of the znode that holds"""
        self.token: Final = standing.czxid
        """the fencing token"""
        self.session_id: Final = standing.session_id
        """whose znode it is"""
        self._client = client
        self._guard = guard
        self._error = error
        self._what = what
        self._given_up = ""
        if client.session.id != standing.session_id:
            guard.lose("its session is over")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._what} token={self.token:#x}{' lost' if self.lost else ''}>"

    @property
    def lost(self) -> bool:
        """Whether the guarantee lapsed before the block was through."""
        return self._guard.lost

    def loss(self, why: str = "") -> GrantLost:
        """The error that says this grant is gone, and why."""
        return self._error(f"{self._what} lost: {why or self._guard.reason}", path=self.path)

    def ensure(self) -> None:
        """Raise the grant's error if it is lost or was given up, or its block has ended. No checkpoint: to be
        called right before a side effect."""
        if self.lost or self._given_up:
            raise self.loss(self._given_up)
        if self._guard.over:
            raise self.loss("its block has ended")

    async def verify(self) -> None:
        """Ask the server whether our znode is still there and ours; if not, the grant is lost, and its error
        raised."""
        self.ensure()
        try:
            stat = await self._client.exists(self.path, linearizable=True)
        except SessionExpired as error:
            raise self._found_gone("its session is over") from error
        if stat is None or stat.czxid != self.token or stat.ephemeral_owner != self.session_id:
            raise self._found_gone("its znode is gone")
        self.ensure()

    async def wait_lost(self) -> bool:
        """Wait until the grant is lost: True; or until its block has ended in order: False.

        For tasks outside the block, which the loss does not cancel.
        """
        return await self._guard.wait_lost()

    async def wait_revoked(self) -> None:
        """Wait until somebody asks us to let go (`Lock.request_release`, or Curator's Revoker), who then
        waits for our consent: leaving the block. Raises the grant's error once its znode is gone.

        The first request that this costs is made here: who does not ask is not told.
        """
        while True:
            with self._client.watch() as watch:
                try:
                    data, stat = await self._client.get(self.path, watch=watch)
                    if stat.czxid != self.token:
                        raise self.loss("its znode is gone")  # and another one has its name
                    if data == REVOKE:
                        return
                    await watch.wait()
                except (NoNode, SessionExpired) as error:
                    raise self.loss("its znode is gone") from error

    def transaction(self) -> FencedTransaction:
        """A transaction that is refused once this grant is gone: by ourselves if we know, by the server if
        not."""
        # Any version: Curator's revokers write into the znode, and its existence is what counts. (Another
        # one of its name can only be there once we know: a request dies with the session that sent it.)
        transaction = self._client.transaction()
        return FencedTransaction(transaction, self.path, -1, self._found_gone, ensure=self.ensure)

    def _found_gone(self, why: str) -> GrantLost:
        """Note that it is gone, which no clock has told: the body is cancelled. Returns the error."""
        if not self._given_up:
            self._guard.lose(why)
        return self.loss(self._given_up or why)

    # -- for whoever granted it -----------------------------------------------------------------------

    @property
    def given_up(self) -> bool:
        return bool(self._given_up)

    def give_up(self, why: str) -> None:
        """The znode goes on purpose before the end of the block, which is no loss."""
        self._given_up = why


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
    """The block in which a grant is held; with `raise_loss` False its loss is no error.

    `release` is called at its end, instead of `let_go`, and has to keep the same rules.
    """
    grant: Grant | None = None
    try:
        with client.session.guard(policy) as guard:
            grant = Grant(client, standing, guard, error, what)
            yield grant
    except BaseException as failure:
        if grant is None or not grant.lost:
            raise
        if not isinstance(failure, (trio.Cancelled, GrantLost)):
            failure.add_note(str(grant.loss()))
        is_the_loss = isinstance(failure, GrantLost) and failure.path == standing.path
        if raise_loss or not is_the_loss:
            raise
    finally:
        if release is not None:
            await release()
        elif grant is None or not grant.given_up:
            await let_go(client, standing)
    if grant.lost and raise_loss:
        raise grant.loss()


async def let_go(
    client: Client, standing: Standing, seconds: float = RELEASE_SECONDS, *, besides: Sequence[str] = ()
) -> None:
    """Delete our znode, and those `besides`: now, if the server answers within `seconds`; else the janitor
    does it later.

    Never raises and is never cancelled, and returns at once while there is no connection.
    """
    if client.session.id != standing.session_id:
        return  # the server deletes the znodes of a session that is gone
    paths = (standing.path, *besides)
    if client.session.state.value is SessionState.CONNECTED:
        with trio.move_on_after(seconds, shield=True):
            try:
                if await _still_ours(client, standing):
                    await _delete(client, paths)
                return
            except NoNode:
                if not besides:
                    return
            except CoordError:
                pass
    for path in paths:
        client.janitor.delete(path, mark=standing.mark)


async def _still_ours(client: Client, standing: Standing) -> bool:
    """Is the znode of this name still the one that we made?"""
    if standing.mark is None:
        return True
    data, _ = await client.get(standing.path)
    return standing.mark in data and client.session.id == standing.session_id


async def _delete(client: Client, paths: Sequence[str]) -> None:
    if len(paths) == 1:
        await client.delete(paths[0])
        return
    async with client.transaction() as transaction:
        for path in paths:
            transaction.delete(path)


async def let_go_of_name(client: Client, path: str) -> None:
    """Like `let_go`, for a znode whose name others use too: only what our own session made is deleted, also
    by a request whose reply we did not await."""
    session_id = client.session.id
    if client.session.state.value is SessionState.CONNECTED:
        with trio.move_on_after(RELEASE_SECONDS, shield=True):
            try:
                # The create that it looks for may be newer than what the server at hand has seen so far.
                stat = await client.exists(path, linearizable=True)
                if stat is not None and stat.ephemeral_owner == session_id == client.session.id:
                    await client.delete(path)
                return
            except NoNode:
                return
            except CoordError:
                pass
    client.janitor.delete(path, mark=b"")
