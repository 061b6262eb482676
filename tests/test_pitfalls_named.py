"""The pitfalls of coordination recipes that other libraries have stepped into, 1 to 53, each with its proof.

A proof is a test that bears the number (`test_pitfall_9_…`, or several: `test_pitfalls_9_16_…`), or, in the
docstring of a test module, a line that says why the pitfall cannot occur here: ``Pitfall 19: cannot occur,
since …``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
PITFALLS = range(1, 54)


def numbers_of(test: str) -> set[int]:
    found = re.match(r"test_pitfalls?_((?:\d+_)+)", test)
    return {int(number) for number in re.findall(r"\d+", found[1])} if found else set()


def excused_in(docstring: str) -> set[int]:
    return {
        int(number) for number in re.findall(r"^Pitfall (\d+): cannot occur, since ", docstring, re.MULTILINE)
    }


def modules() -> Iterator[ast.Module]:
    for path in sorted(TESTS.rglob("test_*.py")):
        if path != Path(__file__):
            yield ast.parse(path.read_text(encoding="utf-8"))


def proven() -> set[int]:
    found: set[int] = set()
    for module in modules():
        found |= excused_in(ast.get_docstring(module) or "")
        for node in ast.walk(module):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found |= numbers_of(node.name)
    return found


def test_each_pitfall_has_its_proof() -> None:
    assert set(PITFALLS) - proven() == set()


def test_no_test_bears_the_number_of_a_pitfall_that_is_none() -> None:
    assert proven() - set(PITFALLS) == set()
