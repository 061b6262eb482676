"""The grammar of a transaction: the text of `coord multi`, and of a shell's.

Owns which commands may stand in it, and how an error in its text is told. How the text is split is
`transaction_syntax`'s business; `transactions` does it.

Rule that holds here: each operation has the grammar of the command of the same name.

Synopsis::

    job = transaction_job("create /a x; check -v 3 /b")  # a shell; raises click.UsageError
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from coord import Client
from coord.cli import commands, grammar_znodes, transactions
from coord.cli.content import STANDARD_INPUT, Content
from coord.cli.grammar import as_bytes, cli, path_argument, version_option
from coord.cli.jobs import Job, Output, with_client
from coord.cli.transaction_syntax import Statement, SyntaxFault, split

SECTION = "Znodes"


@click.command()
@version_option
@path_argument
def check(**options: object) -> Job:
    """The znode must exist, and have this version."""
    return Job(with_client(commands.check, "").needs, commands.check, (), options)


OPERATIONS = click.Group(
    "multi",
    commands={
        "create": grammar_znodes.create,
        "set": grammar_znodes.set_data,
        "delete": grammar_znodes.delete,
        "check": check,
    },
    add_help_option=False,
)


@cli.command()
@click.option("-f", "--file", metavar="FILE", help="Take the operations from this file; -: standard input.")
@click.argument("operations", nargs=-1)
def multi(operations: tuple[str, ...], file: str | None) -> Job:
    """Do several operations, all or nothing.

    \b
    Operations are create, set, delete and check -v VERSION PATH, with the
    arguments of these commands, and end at a semicolon or a line's end:
      coord multi "check -v 3 /lock; set /state 'on duty'; delete /todo/7"
    Quoting is a shell's; # begins a comment.

    What became of each is printed. The exit code is 1 if nothing was done.
    """
    if bool(operations) == (file is not None):
        raise click.UsageError("either OPERATIONS or --file is needed")
    if file is None:
        return transaction_job("\n".join(operations))
    script = Script(Content(file=file))
    return Job(with_client(script.do).needs, script.do, (), {}, before=script.load)


def transaction_job(text: str) -> Job:
    """A job that does what the text says. Raises `click.UsageError`, which names the operation, and
    `transaction_syntax.Unfinished` if more of the text has to follow."""
    script = Script(Content(as_bytes(text)))
    script.parse()
    return Job(with_client(script.do).needs, script.do, (), {}, before=script.load)


class Script:
    """A transaction's text, read and parsed once."""

    def __init__(self, text: Content) -> None:
        self._text = text
        self._jobs: list[Job] | None = None

    def parse(self) -> list[Job]:
        """Of text that has been read."""
        if self._jobs is None:
            text = (self._text.data or b"").decode("utf-8", "surrogateescape")
            try:
                statements = split(text)
            except SyntaxFault as fault:
                if self._text.file is None:
                    raise
                raise SyntaxFault(f"{_name(self._text.file)}: {fault}") from None
            self._jobs = [_operation(number, each) for number, each in enumerate(statements, start=1)]
            if not self._jobs:
                raise click.UsageError("there is no operation in it")
        return self._jobs

    async def load(self) -> None:
        """Reads what there is to be read, the operations' data included."""
        await self._text.read()
        for job in self.parse():
            if job.before is not None:
                await job.before()

    async def do(self, zk: Client, out: Output) -> None:
        await self.load()
        await transactions.multi(zk, out, self.parse())


def _operation(number: int, statement: Statement) -> Job:
    words: Sequence[str] = statement.words
    try:
        job = OPERATIONS.main(list(words), prog_name="multi", standalone_mode=False)
    except click.ClickException as error:
        where = f"operation {number} (line {statement.line}), {words[0]}"
        raise click.UsageError(f"{where}: {error.format_message()}") from None
    except click.exceptions.Exit:
        job = None
    if not isinstance(job, Job):
        raise click.UsageError(f"operation {number} (line {statement.line}): {words[0]} does nothing")
    return job


def _name(file: str) -> str:
    return "standard input" if file == STANDARD_INPUT else file
