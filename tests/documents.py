"""Documents whose blocks of code run: what stands in a Markdown file, and how each kind of block is run.

Owns the blocks of a page (README.md, docs/*.md), the servers a page talks to, and the comparison of what is
printed with what the page says. `test_readme` and `test_docs` say which pages.

What runs, and how:

- ``python`` with an import is a program; without one, the body of a function in which `zk` is a client and
  every recipe is imported; with tests in it, pytest runs them. With a caption it is only written to a file.
- ``console``: lines that begin with ``$ `` are commands, the lines below each are what it prints. With a
  caption ("first terminal") it is typed into a terminal of that name, which may go on running what was
  started there; ``^C``, ``^Z`` and ``^M`` (Enter) press these keys.
- ``properties`` is a zoo.cfg, ``ini`` a systemd unit, ``json`` JSON. With a caption they are written to a
  file as well.
- ``text`` is not run. With the caption "prints" it is what the Python block above it prints.
- In what is printed, ``…`` stands for anything in a line, or alone in a line for any lines.

A page that starts servers itself has its ports to itself: those in the text are exchanged for free ones. Any
other page shares a server, and has a chroot of its own there.
"""

from __future__ import annotations

import configparser
import io
import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from unittest.mock import patch

import trio

import coord
from coord.__main__ import main as run_coord
from coord.config import Config
from coord.config.keys import read_settings
from tests.servers import free_ports
from tests.terminals import NotSaid, Terminal

LANGUAGES: Final = {"python", "console", "properties", "ini", "json", "text"}
ROOT: Final = Path(__file__).parent.parent
PORTS: Final = re.compile(r"\b(?:218[1-9]|288[1-8]|388[1-8])\b")
PROGRAMS: Final = {"serve", "ensemble", "demo", "shell", "lock", "elect", "watch", "export", "import"}
"""Commands of coord that go on, or want a terminal: they run as processes."""

_FENCE = re.compile(r"(?P<indent> *)(?P<fence>`{3,}|:{3,})(?P<info>.*)")
_OPTION = re.compile(r":(?P<name>[\w-]+): *(?P<value>.*)")
_SURROUNDINGS = """
import coord
import trio
from recipes import *


async def main():
    async with coord.connect("127.0.0.1:2181") as zk:
{body}

trio.run(main)
"""


@dataclass(frozen=True)
class Block:
    """One fenced block. `language` is a language, or the name of a directive in braces."""

    language: str
    text: str
    line: int
    title: str = ""
    """of the section it stands in"""
    options: dict[str, str] = field(default_factory=dict)

    @property
    def caption(self) -> str:
        return self.options.get("caption", "")


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a Markdown text, in order."""
    found = []
    lines = iter(enumerate(text.splitlines(), start=1))
    title = ""
    for number, line in lines:
        if line.startswith("#"):
            title = line.lstrip("# ")
        match = _FENCE.fullmatch(line)
        if match is None:
            continue
        body = []
        for _, each in lines:
            if each.strip() == match["fence"]:
                break
            body.append(each.removeprefix(match["indent"]))
        found.append(_block(match["info"].strip(), body, number, title))
    return found


def _block(info: str, body: list[str], line: int, title: str) -> Block:
    directive, _, argument = info.partition(" ")
    options = {}
    while directive.startswith("{") and body and (match := _OPTION.fullmatch(body[0])):
        options[match["name"]] = match["value"]
        del body[0]
    language = argument if directive == "{code-block}" else directive
    return Block(language, "\n".join(body).strip("\n") + "\n", line, title, options)


def program(block: str) -> str:
    """A block of Python as a whole program."""
    if re.search(r"^(import|from) ", block, re.MULTILINE):
        return block
    return _SURROUNDINGS.format(body=textwrap.indent(block, 8 * " "))


def run_python(code: str, name: str) -> str:
    """Runs a program in this process; returns what it prints."""
    out = io.StringIO()
    with redirect_stdout(out):
        exec(compile(code, name, "exec"), {"__name__": "__main__"})
    return out.getvalue()


def has_tests(code: str) -> bool:
    """Does a block consist of tests?"""
    return re.search(r"^(async )?def test_", code, re.MULTILINE) is not None


def run_tests(blocks: Mapping[str, str], directory: Path) -> None:
    """Runs blocks of tests, by their names, in a pytest of their own with the project's settings."""
    files = [directory / f"{name}.py" for name in blocks]
    for file, code in zip(files, blocks.values(), strict=True):
        file.write_text(code, encoding="utf-8")
    settings = ["-q", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml")]
    command = [sys.executable, "-m", "pytest", *settings, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def pattern_of(expected: str, newline: str = r"\n") -> str:
    """A regular expression for what a page says is printed."""
    lines = []
    for line in expected.splitlines():
        if line.strip() == "…":
            lines.append(r"(?:[^\n]*\n)*?")
        else:
            lines.append(re.escape(line.rstrip()).replace("…", r"[^\n]*?") + r"[ ]*" + newline)
    return "".join(lines)


@dataclass(frozen=True)
class Command:
    """A command of a console block, and what the page says it prints."""

    text: str
    expected: str
    keys: bool = False
    """a key is pressed, no command typed"""


def commands(text: str) -> Iterator[Command]:
    """What is printed before any command comes of one that was begun in an earlier block: its text is ""."""
    for part in re.split(r"^(?=\$ |\^[A-Z]$)", text, flags=re.MULTILINE):
        if not part:
            continue
        first, _, rest = part.partition("\n")
        if first.startswith("^"):
            yield Command(first[1].lower(), rest, keys=True)
            continue
        if not first.startswith("$ "):
            yield Command("", part)
            continue
        typed = [first[2:]]
        lines = rest.splitlines(keepends=True)
        while lines and lines[0].startswith("> "):
            typed.append(lines.pop(0)[2:].rstrip("\n"))
        yield Command("\n".join(typed), "".join(lines))


class Page:
    """One document at work: its folder, its server or its ports, and its terminals."""

    def __init__(self, text: str, name: str, directory: Path, hosts: str) -> None:
        """`hosts` is the shared server, for pages that start none."""
        self.name = name
        self.directory = directory
        self.blocks = blocks(text)
        self._printed = ""
        self._tests: dict[str, str] = {}
        self._terminals: dict[str, Terminal] = {}
        consoles = "".join(one.text for one in self.blocks if one.language == "console")
        self._own = re.search(r"coord (serve|ensemble)\b", consoles) is not None
        wanted = sorted({"2181", *PORTS.findall(text)})
        self._ports = dict(zip(wanted, map(str, free_ports(len(wanted))), strict=True)) if self._own else {}
        self._server = "127.0.0.1:2181" if self._own else f"{hosts}/{name}"
        if not self._own:
            trio.run(_make_chroot, self._server)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with ExitStack() as stack:
            for terminal in self._terminals.values():
                stack.callback(terminal.end)

    def run(self, block: Block) -> None:
        """Raises AssertionError, or what the block's own code raises."""
        if block.language == "console":
            for command in commands(block.text):
                if block.caption:
                    self._type(command, block.caption)
                else:
                    self._execute(command)
        elif block.language == "text":
            if block.caption == "prints":
                self._compare(self._printed, block.text, "the block above")
        else:
            self._other(block)

    def finish(self) -> None:
        """Runs the page's blocks of tests, all at once: each start of pytest takes its time."""
        if self._tests:
            run_tests(self._tests, self.directory)

    def _other(self, block: Block) -> None:
        if block.caption:
            (self.directory / block.caption).parent.mkdir(parents=True, exist_ok=True)
            (self.directory / block.caption).write_text(self._inward(block.text), encoding="utf-8")
        if block.language == "properties":
            check_zoo_cfg(block.text)
        elif block.language == "json":
            json.loads(block.text)
        elif block.language == "ini":
            configparser.ConfigParser(interpolation=None).read_string(block.text)
        elif block.language == "python" and not block.caption and has_tests(block.text):
            self._tests[f"test_line_{block.line}"] = self._inward(block.text)
        elif block.language == "python" and not block.caption:
            code = "\n" * block.line + self._inward(block.text)
            if not re.search(r"^(import|from) ", block.text, re.MULTILINE):
                code = self._inward(program(block.text))
            self._printed = self._outward(run_python(code, self.name))

    # -- commands -----------------------------------------------------------------------------------------

    @property
    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "COORD_SERVER": self._inward(self._server),
            "COLUMNS": "100",
            "TERM": "dumb",
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(ROOT),
        }

    def _execute(self, command: Command) -> None:
        words = shlex.split(command.text) if not re.search(r"[|&;<>$`\n*]", command.text) else []
        if words[:1] == ["coord"] and not PROGRAMS & set(words):
            printed = self._in_this_process([self._inward(word) for word in words[1:]])
        else:
            done = subprocess.run(
                ["bash", "-c", self._inward(command.text)],
                cwd=self.directory,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=60,
            )
            printed = done.stdout
        self._compare(self._outward(printed), command.expected, command.text)

    def _in_this_process(self, arguments: list[str]) -> str:
        raw = io.BytesIO()
        out = io.TextIOWrapper(raw, encoding="utf-8", write_through=True)
        with patch.dict(os.environ, self._environment), redirect_stdout(out), redirect_stderr(out):
            run_coord(arguments)
        return raw.getvalue().decode("utf-8", "replace")

    def _type(self, command: Command, name: str) -> None:
        if name not in self._terminals:
            self._terminals[name] = Terminal(self.directory, self._environment)
        terminal = self._terminals[name]
        pattern = self._inward(pattern_of(command.expected, newline=r"\r?\n"))
        try:
            if command.keys:
                terminal.press(command.text, pattern)
            elif command.text:
                terminal.type(self._inward(command.text).replace("\n", " "), pattern)
            else:
                terminal.expect(pattern)
        except NotSaid as error:
            said = self._outward(str(error))
            raise AssertionError(f"{command.text}\nprinted\n{said}\nand not\n{command.expected}") from None

    def _compare(self, printed: str, expected: str, what: str) -> None:
        if printed and not printed.endswith("\n"):
            printed += "\n"
        assert re.fullmatch(pattern_of(expected), printed), f"{what}\nprinted\n{printed}\nand not\n{expected}"

    # -- places -------------------------------------------------------------------------------------------

    def _inward(self, text: str) -> str:
        """The page's words as they are to run here."""
        if self._own:
            return PORTS.sub(lambda match: self._ports[match[0]], text)
        return text.replace("127.0.0.1:2181", self._server)

    def _outward(self, text: str) -> str:
        """What was printed here in the page's words."""
        text = text.replace("\r\n", "\n").replace(self._server, "127.0.0.1:2181")
        text = text.replace(self._server.partition("/")[0], "127.0.0.1:2181")
        for written, real in self._ports.items():
            text = re.sub(rf"\b{real}\b", written, text)
        return text.replace(str(self.directory), "/home/ann")


async def _make_chroot(hosts: str) -> None:
    async with coord.connect(hosts, patience=30) as zk:
        await zk.ensure_chroot()


def check_zoo_cfg(text: str) -> Config:
    """Raises `coord.ConfigError` for what is no zoo.cfg."""
    settings: dict[str, Any] = read_settings(text, "zoo.cfg", lambda note: None)
    for elsewhere in ("member_secret_file", "dynamic_config_file"):
        settings.pop(elsewhere, None)
    if settings.get("members"):
        settings["my_id"] = min(settings["members"])
    return Config(**settings)
