"""Completion of paths by what the server has, in bash, zsh and fish as in coord's own shell.

Owns how a path is completed, whoever asks, and what bash needs beyond click's own script. Must not know
which commands there are.

Rules that hold here:

- Who completes waits `ANSWER_SECONDS` at most, and hears nothing of what goes wrong: there is no completion.
- Children come from the context's ``obj`` if it has some way to find them (coord's shell asks in its own
  session), else from the servers that the command line names.

Synopsis::

    path_argument = click.argument("path", shell_complete=complete_path)
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import click
import trio
from click.shell_completion import BashComplete, CompletionItem, add_completion_class, split_arg_string

import coord
from coord.cli.one_command import ClientsWord

ANSWER_SECONDS: Final = 1.0

FindChildren = Callable[[str], Sequence[str]]
"""The names of a znode's children; none if there are none, or no answer in time."""


def complete_path(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """The paths that begin so. The only one is offered once more with a slash if there is something below."""
    found = ctx.find_root().params
    find: FindChildren = ctx.obj or partial(ask, str(found.get("servers")), found.get("auth") or ())
    return [CompletionItem(path) for path in matching(incomplete, find)]


def matching(incomplete: str, find: FindChildren) -> list[str]:
    parent, slash, prefix = (incomplete or "/").rpartition("/")
    if not slash:
        return []
    paths = [f"{parent}/{name}" for name in sorted(find(parent or "/")) if name.startswith(prefix)]
    if len(paths) == 1 and find(paths[0]):
        paths.append(f"{paths[0]}/")
    return paths


def quoted(word: str) -> str:
    """As a shell takes it, in quotes only where it needs them."""
    return word if re.fullmatch(r"[\w@%+=:,./-]+", word) else shlex.quote(word)


def ask(servers: str, auth: Sequence[tuple[str, str]], path: str) -> Sequence[str]:
    """The children, in a session of its own."""

    async def read() -> Sequence[str]:
        with trio.move_on_after(ANSWER_SECONDS):
            async with coord.connect(servers, auth=auth) as zk:
                return await zk.children(path)
        return ()

    with ClientsWord():  # what the client has to say is not for the terminal now
        try:
            return trio.run(read)
        except (coord.CoordError, OSError):
            return ()


class CompleteInBash(BashComplete):
    """As click's, but for words with a colon in them, as ``--server HOST:PORT`` always has: bash cuts them
    in pieces, and wants only the last piece completed."""

    source_template = """\
%(complete_func)s() {
    local kind value
    COMPREPLY=()
    while IFS=, read -r kind value; do
        case $kind in
            plain) COMPREPLY+=("$value") ;;
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
        esac
    done < <(COMP_WORDS="${COMP_LINE:0:COMP_POINT}" %(complete_var)s=bash_complete "$1" 2>/dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["COMP_WORDS"]
        words = split_arg_string(line)[1:]
        if not words or re.search(r"(?<!\\)\s$", line):
            return words, ""
        return words[:-1], words[-1]

    def complete(self) -> str:
        words, incomplete = self.get_completion_args()
        cut = max(incomplete.rfind(mark) for mark in ":=") + 1
        items = self.get_completions(words, incomplete)
        return "\n".join(f"{item.type},{quoted(item.value[cut:])}" for item in items)


add_completion_class(CompleteInBash, "bash")
