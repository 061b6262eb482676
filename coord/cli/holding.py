"""`coord lock` and `coord elect`: a command that runs while a lock is held, or while we lead.

Owns what is held for how long, and what becomes of the exit code. The process is `supervised`'s, the moments
are `deadline`'s, the lock and the election the recipes'.

Rules that hold here:

- When the lock can no longer be guaranteed the command is ended in time: nobody else can hold it while
  anything of the command runs. The lock is let go only after that.
- What is sent to us while we wait ends the waiting; while the command runs it is the command's.
- The exit code is the command's own, else one of those below, with a line that says why.

Synopsis::

    code = await lock(zk, out, "/jobs/nightly", ["make", "report"], Terms(b"host7:4711"))
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Final

import trio

from coord import Client
from coord.cli.deadline import Moments, grace_of, moments
from coord.cli.foreground import Terminal
from coord.cli.jobs import ExitWith, Output
from coord.cli.supervised import ENDING, SIGNALLED, Ended, Supervised, check_program, complain
from recipes import (
    KAZOO,
    Contender,
    Election,
    Grant,
    Layout,
    LeadershipLost,
    Lock,
    LockLost,
    ReadWriteLock,
)
from recipes.beside import beside
from recipes.election import PAUSE_SECONDS

LOST: Final = 123
NOT_HAD: Final = 124
FAILED: Final = 125
"""Exit codes that are not the command's: its lock was lost, was not had in time; what else goes wrong."""

RENEWALS: Final = 24
"""of the command's time, within a session timeout"""
WHOSE_SECONDS: Final = 1.0

PASSED_ON: Final = (*ENDING, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, signal.SIGTSTP)


@dataclass(frozen=True)
class Terms:
    """How something is held."""

    data: bytes
    """what others see as the holder"""
    layout: Layout = KAZOO
    wait: float = inf
    """seconds"""
    conflict_code: int = NOT_HAD
    grace: float | None = None
    """seconds between SIGTERM and SIGKILL"""
    revocable: bool = False
    verbose: bool = False

    def say(self, line: str) -> None:
        if self.verbose:
            complain(line)


async def lock(
    zk: Client,
    out: Output,
    path: str,
    argv: Sequence[str],
    terms: Terms,
    *,
    shared: bool = False,
    nonblock: bool = False,
) -> int:
    """Runs a command while holding the lock at `path` (`shared`: with other readers); returns its status.

    Raises `ExitWith`: `LOST`, the terms' `conflict_code`, 126, 127, or 128 + N for a signal.
    """
    check_program(argv[0])
    if shared:
        one: Lock = ReadWriteLock(zk, path, terms.data, layout=terms.layout).read
    else:
        one = Lock(zk, path, terms.data, layout=terms.layout)
    hold = partial(one.acquire, wait=not nonblock, timeout=terms.wait)
    run = _Run(zk, argv, terms, {"COORD_LOCK_PATH": path})
    async with beside(run.listen):
        try:
            return (await run.once(hold)).status
        except (trio.WouldBlock, trio.TooSlowError):
            raise ExitWith(
                terms.conflict_code, f"lock {path} is not free{await _whose(one.contenders)}"
            ) from None


async def elect(
    zk: Client, out: Output, path: str, argv: Sequence[str], terms: Terms, *, keep_standing: bool = False
) -> int:
    """Runs a command while leading in the election at `path`; returns its status.

    `keep_standing`: after a loss, and after others asked us to let go, it is run anew in the next term.
    Raises `ExitWith` as `lock` does.
    """
    check_program(argv[0])
    election = Election(zk, path, terms.data, layout=terms.layout)
    run = _Run(zk, argv, terms, {"COORD_ELECTION_PATH": path})
    async with beside(run.listen):
        while True:
            try:
                with trio.fail_after(terms.wait) as limit:
                    ended = await run.once(election.lead, limit)
            except trio.TooSlowError:
                whose = await _whose(election.contenders)
                raise ExitWith(terms.conflict_code, f"not elected within {terms.wait:g} s{whose}") from None
            except ExitWith as loss:
                if loss.code != LOST or not keep_standing:
                    raise
                complain(str(loss))
            else:
                if not (run.revoked and keep_standing):
                    return ended.status
            await trio.sleep(random.uniform(0, PAUSE_SECONDS))


async def _whose(contenders: Callable[[], Awaitable[list[Contender]]]) -> str:
    """Who stands first, for a message, if that is told at once."""
    with trio.move_on_after(WHOSE_SECONDS):
        for holder in await contenders():
            return f": {holder.data.decode(errors='replace') or holder.path.rpartition('/')[2]} has it"
    return ""


class _Run:
    """The runs of one command: each while something is held."""

    def __init__(self, zk: Client, argv: Sequence[str], terms: Terms, names: dict[str, str]) -> None:
        """`names` are variables for the command's environment."""
        self._zk = zk
        self._argv = argv
        self._terms = terms
        self._names = names
        self._command: Supervised | None = None
        self._grace = grace_of(zk.session.timeout, terms.grace)
        self.revoked = False

    async def listen(self) -> None:
        """Takes what is sent to us. Raises `ExitWith` if there is no command to take it."""
        # Who wants a signal ignored (nohup does) wants it ignored by the command, too.
        wanted = [one for one in PASSED_ON if signal.getsignal(one) is not signal.SIG_IGN]
        with trio.open_signal_receiver(*wanted) as signals:
            async for number in signals:
                if self._command is not None:
                    self._command.deliver(signal.Signals(number))
                elif number in ENDING:
                    raise ExitWith(SIGNALLED + number)

    async def once(
        self,
        hold: Callable[[], AbstractAsyncContextManager[Grant]],
        limit: trio.CancelScope | None = None,
    ) -> Ended:
        """One run, within the block of `hold`; `limit` bounds the waiting for it. Raises `ExitWith`."""
        self.revoked = False
        ended: Ended | None = None
        try:
            async with hold() as grant:
                if limit is not None:
                    limit.deadline = inf
                self._terms.say(f"holding, token {grant.token}")
                ended = await self._under(grant)
        except (LockLost, LeadershipLost) as loss:
            why = str(loss).removeprefix(f"{loss.path}: ")
            raise ExitWith(LOST, f"{why}; the command was ended") from None
        if not ended.in_time and not self.revoked:
            raise ExitWith(LOST, "it could no longer be guaranteed; the command was ended")
        return ended

    async def _under(self, grant: Grant) -> Ended:
        gone = trio.Event()

        def bounds() -> Moments:
            session = self._zk.session
            if gone.is_set() or session.id != grant.session_id:
                return Moments(-inf, -inf)  # it may be somebody else's already
            return moments(session.valid_until, session.timeout, self._grace)

        async def watch() -> None:
            async with self._zk.watch_exists(grant.path) as states:
                async for stat in states:
                    if stat is None or stat.czxid != grant.token:
                        gone.set()
                        raise grant.loss("its znode is gone")

        async def consent() -> None:
            if self._terms.revocable:
                await grant.wait_revoked()
                self._terms.say("asked to let go")
                self.revoked = True
                now, latest = trio.current_time(), bounds().kill_at
                command.end(Moments(now, min(now + self._grace, latest)))

        terminal = Terminal()
        try:
            with Supervised(self._argv, self._environment(grant), terminal, bounds) as command:
                self._command = command
                async with beside(watch), beside(consent):
                    return await command.run(seconds=self._zk.session.timeout / RENEWALS)
        finally:
            self._command = None
            terminal.close()

    def _environment(self, grant: Grant) -> dict[str, str]:
        return {
            **os.environ,
            **self._names,
            "COORD_SERVER": self._zk.hosts,
            "COORD_TOKEN": str(grant.token),
            "COORD_ZNODE": grant.path,
            "COORD_SESSION": f"0x{grant.session_id:x}",
        }
