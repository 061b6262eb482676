"""The README's Python runs as it stands there, against a server of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Flavour, ServerProcess

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ServerProcess(tmp_path_factory.mktemp("readme"), flavour=Flavour.COORD) as server:
        yield server.hosts


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[-4].strip())
def test_a_block_of_the_readme_runs(block: str, hosts: str) -> None:
    code = block.replace("127.0.0.1:2181", hosts)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


def test_the_readme_names_the_two_commands_a_newcomer_needs() -> None:
    text = README.read_text(encoding="utf-8")
    assert "make demo" in text
    assert "make test" in text
