"""The README's Python runs as it stands there, against a server of its own.

A block without ``trio.run`` is the body of a function in which `zk` is a client, with every recipe imported;
a block of tests is run by pytest.
"""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import recipes
from tests.servers import Flavour, ServerProcess

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
SECTION = re.compile(r"^#{2,3} (.*?)\n(.*?)(?=^#{2,3} |\Z)", re.DOTALL | re.MULTILINE)

SURROUNDINGS = """
import coord
import trio
from recipes import *


async def main():
    async with coord.connect("127.0.0.1:2181") as zk:
{body}

trio.run(main)
"""

RECIPES = (
    *(
        "Lock",
        "ReadWriteLock",
        "Semaphore",
        "Election",
        "Barrier",
        "DoubleBarrier",
        "Queue",
        "Counter",
        "Party",
    ),
    *("Cache", "watch_config", "Partitioner", "Lease", "BrokerRegistry", "Topics", "Controller"),
)


def blocks() -> Iterator[object]:
    for title, text in SECTION.findall(TEXT):
        for block in BLOCK.findall(text):
            yield pytest.param(block, id=title)


def command(block: str, hosts: str, directory: Path) -> list[str]:
    """What runs it."""
    if re.search(r"^(async )?def test_", block, re.MULTILINE):
        file = directory / "test_block.py"
        file.write_text(block, encoding="utf-8")
        return [sys.executable, "-m", "pytest", "-q", "-c", str(ROOT / "pyproject.toml"), str(file)]
    if "trio.run(" not in block:
        block = SURROUNDINGS.format(body=textwrap.indent(block, 8 * " "))
    return [sys.executable, "-c", block.replace("127.0.0.1:2181", hosts)]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ServerProcess(tmp_path_factory.mktemp("readme"), flavour=Flavour.COORD) as server:
        yield server.hosts


@pytest.mark.parametrize("block", blocks())
def test_a_block_of_the_readme_runs(block: str, hosts: str, tmp_path: Path) -> None:
    done = subprocess.run(command(block, hosts, tmp_path), capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_has_a_section_with_an_example(name: str) -> None:
    assert name in recipes.__all__
    examples = [text for title, text in SECTION.findall(TEXT) if name in title.split(", ")]
    assert examples
    assert re.search(rf"\b{name}\(", " ".join(BLOCK.findall(examples[0])))


def test_the_readme_names_the_two_commands_a_newcomer_needs() -> None:
    assert "make demo" in TEXT
    assert "make test" in TEXT
