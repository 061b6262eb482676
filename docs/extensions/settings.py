"""The directives ``{zoo-cfg-keys}`` and ``{zookeeper-keys}``: the keys of zoo.cfg, from coord's own tables.

Owns how `coord.config`'s tables get into a page: what a key may be is what its error says was expected, its
meaning is the text under the field of `Config` that it sets.
"""

from __future__ import annotations

import ast
import inspect
import re
from abc import abstractmethod
from dataclasses import MISSING, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from coord.config import Config, settings
from coord.config.keys import KEYS, NOTED, NUMBERED, Key
from coord.config.values import Unexpected
from coord.config.zookeeper_keys import FULFILLED, REFUSED, UNNEEDED, UNNEEDED_PREFIXES

ELSEWHERE = {
    "dynamic_config_file": "another file with the server lines, as ZooKeeper 3.5 and later write it",
    "member_secret_file": "a file with what members prove to each other that they know",
}
"""Keys that set no field of their own."""


_KEY_OF = {key.field: name for name, key in KEYS.items()}


class Table(SphinxDirective):
    """Rows of cells; the text of a cell may have inline code and links."""

    head: ClassVar[tuple[str, ...]]

    @abstractmethod
    def rows(self) -> list[tuple[str, ...]]:
        """Each as long as `head`."""

    def run(self) -> list[nodes.Node]:
        rows = self.rows()
        text = ["| " + " | ".join(cells) + " |" for cells in (self.head, ("---",) * len(self.head), *rows)]
        return self.parse_text_to_nodes("\n".join(text))


class Keys(Table):
    head = ("Key", "Default", "Meaning")

    def rows(self) -> list[tuple[str, ...]]:
        meanings = field_docstrings() | ELSEWHERE
        rows = [_row(name, key, meanings) for name, key in KEYS.items()]
        return rows + [_row(f"{name}.N", key, meanings) for name, key in NUMBERED.items()]


class ZooKeepersKeys(Table):
    head = ("Key", "What coord does")

    def rows(self) -> list[tuple[str, ...]]:
        rows = [(f"`{key}`", f"**refused**: {why}{_fine(key)}") for key, why in REFUSED.items()]
        quiet = [key for key in FULFILLED if key not in REFUSED]
        rows += [(f"`{key}`", f"noted, without effect{_fine(key)}") for key in quiet]
        rest = sorted((UNNEEDED | {f"{one}*" for one in UNNEEDED_PREFIXES}) - set(quiet), key=str.lower)
        return [*rows, (", ".join(f"`{key}`" for key in rest), "noted, without effect")]


def _fine(key: str) -> str:
    values = sorted(FULFILLED.get(key, ()))
    return f"; fine with `{'` or `'.join(values)}`, which is what coord does" if values else ""


def _row(name: str, key: Key, meanings: dict[str, str]) -> tuple[str, ...]:
    told = meanings.get(key.field, "")
    meaning = re.sub(r"`(\w+)`", lambda match: f"`{_KEY_OF.get(match[1], match[1])}`", told)
    meaning = meaning.replace("None: ", "if not given: ")
    if name in NOTED:
        meaning = f"{meaning}; {NOTED[name]}" if meaning else NOTED[name]
    return f"`{name}`", _default(key.field), f"{meaning.replace('``', '`')}. *{_expected(key)}*"


def _expected(key: Key) -> str:
    """What the error for a value that is none asks for."""
    for nonsense in ("", "\0"):
        try:
            key.convert(nonsense)
        except Unexpected as error:
            text = str(error).replace("|", "\\|")
            return f"`{text}`" if ":" in text else text
    return "words with commas between"


def _default(name: str) -> str:
    for field in fields(Config):
        if field.name == name:
            default = field.default if field.default_factory is MISSING else field.default_factory()
            return _written(default)
    return ""


def _written(value: object) -> str:
    """As zoo.cfg writes it."""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, frozenset):
        return f"`{','.join(sorted(value))}`"
    return f"`{value}`" if isinstance(value, int) or value else ""


def field_docstrings() -> dict[str, str]:
    """The text under each field of `Config`."""
    tree = ast.parse(Path(inspect.getfile(settings)).read_text(encoding="utf-8"))
    body = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Config").body
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("zoo-cfg-keys", Keys)
    app.add_directive("zookeeper-keys", ZooKeepersKeys)
    return {"parallel_read_safe": True}
