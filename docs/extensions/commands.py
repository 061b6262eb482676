"""The directive ``{commands}``: every command of `coord`, each with what its ``--help`` prints.

Owns how a command's help gets into a page. The help is asked of the program itself, so it cannot be older
than the program.
"""

from __future__ import annotations

import io
import os
from contextlib import redirect_stdout, suppress
from typing import Any
from unittest.mock import patch

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from coord.__main__ import main


class Commands(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        import coord.cli.app  # noqa: F401 - needs click; all commands are defined by then
        from coord.cli.grammar import cli

        sections: list[nodes.Node] = []
        for name in ["", *cli.commands]:
            title = f"coord {name}".strip()
            anchor = "-".join(title.split())
            section = nodes.section(ids=[anchor], names=[anchor])
            section += nodes.title("", "", nodes.literal("", title))
            block = nodes.literal_block("", help_of(name))
            block["language"] = "text"
            section += block
            self.state.document.note_explicit_target(section)
            sections.append(section)
        return sections


def help_of(command: str) -> str:
    """What ``coord COMMAND --help`` prints on a terminal of 88 columns."""
    out = io.StringIO()
    with patch.dict(os.environ, {"COLUMNS": "88"}), redirect_stdout(out), suppress(SystemExit):
        main([*([command] if command else []), "--help"])
    return out.getvalue().rstrip()


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True}
