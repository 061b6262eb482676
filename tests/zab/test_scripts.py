"""Every script gives the output it says (see `script` for the commands and for ``--rewrite``)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.zab.script import FOLDER, played


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.txt")), ids=lambda file: file.stem)
def test_script(file: Path) -> None:
    text = file.read_text()
    assert played(text) == text
