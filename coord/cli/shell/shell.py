"""The shell: line after line, each command done in the session that lives between them.

Owns the order of things: read, parse, do, say; what Ctrl-C and signals end; when the shell is over, and with
which exit code. How lines are read is the `Reader`'s business, what commands do is theirs.

Rules that hold here:

- Ctrl-C cancels the command under way, or the line that is typed, and nothing else. SIGTERM and SIGHUP end
  the shell in good order: the session is closed at the server.
- For a person a failure is a line, and the shell goes on. A script ends with its first failure, whose exit
  code is the shell's, unless it was told to keep going.
- While a transaction is typed, its operations are noted down; nothing is done before `commit`.

Synopsis::

    async with trio.open_nursery() as nursery:
        shell = Shell(target, nursery, word)
        shell.reader = StandardInput()
        exit_code = await shell.run()
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from typing import Any, Final

import click
import trio

from coord import BadArguments, Watch
from coord.cli.failures import INTERRUPTED, SIGNALLED, USAGE, failure
from coord.cli.jobs import Job, Needs
from coord.cli.one_command import ClientsWord, Target
from coord.cli.printing import OutputFailed, OutputUnwanted, Printer
from coord.cli.results import Result, printed
from coord.cli.shell.connection import Connection
from coord.cli.shell.grammar import BLOCK, COMMANDS, parse
from coord.cli.shell.lines import Unclosed, split
from coord.cli.shell.reader import Prompt, Reader
from coord.cli.shell.watching import Watching

FIRST_PROMPT_SECONDS: Final = 0.5
"""So long the first prompt waits for a session, which most often is there by then."""


class Shell:
    """See the module's text; `word` has what the client said last of its connection."""

    reader: Reader

    def __init__(
        self,
        target: Target,
        nursery: trio.Nursery,
        word: ClientsWord,
        *,
        as_json: bool = False,
        keep_going: bool = False,
    ) -> None:
        self._target = target
        self._word = word
        self._as_json = as_json
        self._keep_going = keep_going
        self._scope = trio.CancelScope()  # around the line, or the command, under way
        self._over = False
        self._signal = 0
        self._output_ended: Exception | None = None
        self.connection = Connection(nursery, lambda text, tone: self.reader.tell(text, tone))
        self.watching = Watching(nursery, self._show)
        self.auth = target.auth
        self.done: list[str] = []
        """the lines so far, for `history` and `redo`"""
        self.block: list[Job] | None = None
        """the operations of the transaction that is typed"""

    def leave(self) -> None:
        """No further line is read."""
        self._over = True

    def group(self) -> click.Group:
        """The commands there are at this point."""
        return COMMANDS if self.block is None else BLOCK

    def prompt(self) -> Prompt:
        """As it is at this moment; called from any thread."""
        state, server, session_id = self.connection.status()
        text = f"[coord: {server}({state}) {len(self.done)}] "
        if self.block is not None:
            text = f"multi {len(self.block) + 1}> "
        session = f"  session {session_id:#x}" if session_id else ""
        watches = f"  watches {len(self.watching)}" if len(self.watching) else ""
        return Prompt(text, state, f" {state}  {server}{session}{watches}")

    # -- lines ----------------------------------------------------------------------------------------

    async def run(self) -> int:
        """Returns the exit code. Raises `OutputFailed`, `OutputUnwanted`."""
        self.connection.changed = self.reader.redraw
        await self.connection.open(self._target.servers, self.auth)
        if self.reader.person:
            with trio.move_on_after(FIRST_PROMPT_SECONDS):
                await self.connection.settled()
        first_failure = 0
        while not self._over:
            code = await self._next_lines()
            first_failure = first_failure or code
        if self._signal:
            return SIGNALLED + self._signal
        return 0 if self.reader.person else first_failure

    async def _next_lines(self) -> int:
        text = ""
        try:
            with trio.CancelScope() as self._scope:
                text = await self.reader.read()
            if self._scope.cancel_called:  # even if the line was complete by then
                self._tell_interrupted()
                return 0
            commands = split(text, semicolons=self.reader.semicolons)
        except EOFError:
            return self._end_of_lines()
        except Unclosed as error:
            return self._failed(USAGE, str(error))
        first_failure = 0
        for command in commands:
            if not self._over:
                self.done.append(command.text)
                code = await self._do(command.words)
                first_failure = first_failure or code
        return first_failure

    def _end_of_lines(self) -> int:
        if self.block is None:
            self._over = True
            return 0
        self.block = None
        self._over = not self.reader.person
        return self._failed(USAGE, "the transaction has no `commit`; nothing of it was done")

    def _failed(self, code: int, message: str) -> int:
        if message:
            self.reader.complain(message)
        self._over = self._over or not (self.reader.person or self._keep_going)
        return code

    async def do_again(self, text: str) -> int:
        """For `redo`, whose own line it takes the place of. Raises `BadArguments` for another `redo`."""
        words = split(text, semicolons=self.reader.semicolons)[0].words
        if words[words[0] == "--json" :][:1] == ["redo"]:
            raise BadArguments("the line is a redo itself", operation="redo")
        self.done[-1] = text
        return await self._do(words)

    # -- commands -------------------------------------------------------------------------------------

    async def _do(self, words: list[str]) -> int:
        as_json = self._as_json or words[0] == "--json"
        if words[0] == "--json":
            words = words[1:] or ["help"]
        job: Job | None = None
        try:
            job = parse(words, self.group(), takes_input=self.reader.takes_input)
            if job is None:
                return 0
            if self.block is not None and job.needs is Needs.CLIENT:
                return await self._note_down(job, self.block)
            code = await self._perform(job, LineOutput(self.watching, as_json=as_json))
            return self._failed(code, "") if code else 0
        except (OutputFailed, OutputUnwanted):
            raise
        except Exception as error:
            failed = failure(error)
            if failed is None:
                raise
            return self._failed(failed.exit_code, failed.message)

    async def _note_down(self, job: Job, block: list[Job]) -> int:
        with trio.CancelScope() as self._scope:
            if job.before is not None:
                await job.before()
            block.append(job)
            return 0
        self._tell_interrupted()
        return INTERRUPTED

    async def _perform(self, job: Job, out: LineOutput) -> int:
        """The job, while its results are written by a thread."""
        code, failed = INTERRUPTED, None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, out)
            with trio.CancelScope() as self._scope:
                try:
                    async with job.prepared():
                        code = await self._in_time(job, out)
                except Exception as error:
                    failed = error
                await out.written()
            nursery.cancel_scope.cancel(reason="the command is done")
        if self._output_ended is not None:
            raise self._output_ended
        if failed is not None:
            if out.came_to:
                failed.add_note(out.came_to)
            raise failed
        if self._scope.cancelled_caught:
            self._tell_interrupted(out.came_to)
        return code

    def _tell_interrupted(self, came_to: str = "") -> None:
        """To a person the terminal has written ^C and no more; a script is told how far work came."""
        said = f"interrupted; {came_to}" if came_to else "interrupted"
        if self.reader.person and not self._over:
            self.reader.complain(f"\n{said}")
        elif came_to and not self.reader.person:
            self.reader.complain(said)

    async def _in_time(self, job: Job, out: LineOutput) -> int:
        with job.failing():
            with trio.move_on_after(self._target.seconds) as limit:
                async with self._subject(job) as subject:
                    if job.patient:
                        limit.deadline = inf
                    return await job.do(subject, out)
            why = f": {self._word.text}" if self._word.text else ""
            servers, seconds = self.connection.servers, self._target.seconds
            raise TimeoutError(f"no answer from {servers} within {seconds:g} s{why}")

    @asynccontextmanager
    async def _subject(self, job: Job) -> AsyncIterator[Any]:
        """What the job needs."""
        if job.needs is Needs.SHELL:
            yield self
        elif job.needs is Needs.SERVERS:
            yield self.connection.servers
        elif job.needs is Needs.CLIENT and job.session_timeout is not None:
            async with await self.connection.another(job.session_timeout) as zk:
                yield zk
        elif job.needs is Needs.CLIENT:
            yield await self.connection.client()
        else:
            yield None

    async def _write(self, out: LineOutput) -> None:
        try:
            await out.write()
        except (OutputFailed, OutputUnwanted) as error:
            self._output_ended = error
            self._scope.cancel(reason="nobody reads the output")

    # -- meanwhile ------------------------------------------------------------------------------------

    def _show(self, happened: Result) -> None:
        self.reader.show(printed(happened, as_json=self._as_json))
        self.reader.redraw()

    async def heed_signals(self, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
            task_status.started()
            async for number in signals:
                if number != signal.SIGINT or not self.reader.person:
                    self._signal, self._over = number, True
                self._scope.cancel(reason="a signal")


class LineOutput(Printer):
    """Standard output, for a command among others: a watch stays when the command is done."""

    def __init__(self, watching: Watching, *, as_json: bool) -> None:
        super().__init__(as_json=as_json, at_once=True)
        self._watching = watching

    async def armed(self, watch: Watch, path: str, *, children: bool = False) -> None:
        self._watching.once(watch, path, children=children)
