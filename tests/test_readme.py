"""The README's Python runs as it stands there, against a server of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import recipes
from tests.documents import blocks, has_tests, program, run_python, run_tests
from tests.servers import Flavour, ServerProcess

README = Path(__file__).parent.parent / "README.md"
TEXT = README.read_text(encoding="utf-8")
PYTHON = [block for block in blocks(TEXT) if block.language == "python"]

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


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ServerProcess(tmp_path_factory.mktemp("readme"), flavour=Flavour.COORD) as server:
        yield server.hosts


@pytest.mark.parametrize("block", [pytest.param(one.text, id=one.title) for one in PYTHON])
def test_a_block_of_the_readme_runs(block: str, hosts: str, tmp_path: Path) -> None:
    if has_tests(block):
        run_tests({"test_readme": block}, tmp_path)
    else:
        run_python(program(block).replace("127.0.0.1:2181", hosts), "README.md")


@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_has_a_section_with_an_example(name: str) -> None:
    assert name in recipes.__all__
    examples = [block.text for block in PYTHON if name in block.title.split(", ")]
    assert examples
    assert re.search(rf"\b{name}\(", examples[0])


def test_the_readme_names_the_two_commands_a_newcomer_needs() -> None:
    assert "make demo" in TEXT
    assert "make test" in TEXT
