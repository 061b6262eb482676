"""A parsed command, ready to be done in whatever session there is: that of one command line, or a shell's.

Owns the type between parsing (``grammar_*``) and doing (`one_command`, the shell), and what a command may say
while it is done (`Output`). Must not know how arguments were parsed, nor where results go.

Rule that holds here: parsing returns a `Job` and touches nothing; who does the job decides on the connection.

Synopsis::

    job = with_client(commands.get, "/znode_test", with_stat=True)
    exit_code = await job.do(zk, out)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Concatenate, ParamSpec, Protocol

from coord import Client, CoordError, Watch
from coord.cli.results import Result

Advance = Callable[[int], object]


class Output(Protocol):
    """Where a command's findings go."""

    def __call__(self, result: Result) -> object:
        """One finding: a line or more of text, or one line of JSON."""

    def progress(self, label: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """Shows, to a person, how far long work has come: ``with out.progress("deleting", 7) as advance``;
        ``advance(n)`` after each n of `total` (None: unknown). Work that ends early is told of by it."""

    async def room(self) -> None:
        """Returns when there is room for more: to be awaited now and then by whoever finds a lot, so that a
        slow reader costs no memory."""

    async def armed(self, watch: Watch, path: str, *, children: bool = False) -> None:
        """A read has armed `watch` on the znode's data or existence, or on its children. A command line waits
        for the event and says it; a shell returns at once, and says it when it comes."""


class ExitWith(Exception):
    """Ends the command line with an exit code of the command's own; the message, if any, is its line."""

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(message)
        self.code = code


class Needs(Enum):
    """What a job is done with."""

    CLIENT = "client"
    """a `coord.Client`"""
    SERVERS = "servers"
    """the connect string: no session"""
    NOTHING = "nothing"
    TARGET = "target"
    """a `one_command.Target`: it opens and closes sessions itself"""
    SHELL = "shell"
    """a `shell.Shell`: only a line of the shell can ask for it"""


@dataclass(frozen=True)
class Job:
    """A command with its arguments.

    `patient`: it may take as long as it takes, once connected (a live view, work on a whole subtree, a
    command run under a lock); the time-out of the command line bounds only the connecting.
    `before`: to be awaited before there is a connection (reads standard input, which may take its time); the
    command itself reads what was not read before. `after`: to be called at the end, whether the job was done
    or not (closes what `before` opened). `session_timeout`, in seconds: it is done in a session of its own, a
    shell's line too; None: in that of whoever does it. `failure`: the exit code of whatever goes wrong, where
    the others are not `coord`'s own.
    """

    needs: Needs
    command: Callable[..., Awaitable[int | None]]
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    patient: bool = False
    before: Callable[[], Awaitable[object]] | None = None
    after: Callable[[], object] | None = None
    session_timeout: float | None = None
    failure: int | None = None

    @asynccontextmanager
    async def prepared(self) -> AsyncIterator[None]:
        """Around the connecting and the doing."""
        try:
            if self.before is not None:
                await self.before()
            yield
        finally:
            if self.after is not None:
                self.after()

    async def do(self, subject: Any, out: Output) -> int:
        """`subject` is what the job needs: a client, a connect string, …, or None. Returns the exit code."""
        return await self.command(subject, out, *self.arguments, **self.options) or 0

    @contextmanager
    def failing(self) -> Iterator[None]:
        """What goes wrong in the block ends with the job's `failure`, if it has one. Raises `ExitWith`."""
        try:
            yield
        except (CoordError, OSError, ValueError) as error:
            if self.failure is None:
                raise
            raise ExitWith(self.failure, str(error) or type(error).__name__) from error


Rest = ParamSpec("Rest")
ClientCommand = Callable[Concatenate[Client, Output, Rest], Awaitable[int | None]]
ServersCommand = Callable[Concatenate[str, Output, Rest], Awaitable[int | None]]


def with_client(command: ClientCommand[Rest], *arguments: Rest.args, **options: Rest.kwargs) -> Job:
    """A job on a client."""
    return Job(Needs.CLIENT, command, arguments, options)


def patient(job: Job) -> Job:
    """The same job, which may take as long as it takes."""
    return replace(job, patient=True)


def with_servers(command: ServersCommand[Rest], *arguments: Rest.args, **options: Rest.kwargs) -> Job:
    """A job that asks servers, without a session."""
    return Job(Needs.SERVERS, command, arguments, options)
