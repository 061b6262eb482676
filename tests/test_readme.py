"""The README's Python runs as it stands there, against a server of its own.

A block without ``trio.run`` is the body of a function in which `zk` is a client, with every recipe imported.
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

README = Path(__file__).parent.parent / "README.md"
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


def program(block: str) -> str:
    if "trio.run(" in block:
        return block
    return SURROUNDINGS.format(body=textwrap.indent(block, 8 * " "))


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ServerProcess(tmp_path_factory.mktemp("readme"), flavour=Flavour.COORD) as server:
        yield server.hosts


@pytest.mark.parametrize("block", blocks())
def test_a_block_of_the_readme_runs(block: str, hosts: str) -> None:
    code = program(block).replace("127.0.0.1:2181", hosts)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_has_a_section_with_an_example(name: str) -> None:
    assert name in recipes.__all__
    examples = [text for title, text in SECTION.findall(TEXT) if name in title.split(", ")]
    assert examples
    assert re.search(rf"\b{name}\(", " ".join(BLOCK.findall(examples[0])))


def test_the_readme_names_the_two_commands_a_newcomer_needs() -> None:
    assert "make demo" in TEXT
    assert "make test" in TEXT
