"""The named bug scenarios of other implementations, S01 to S38: each has a test that bears its number.

A test may stand for several (`test_s07_s08_…`). They are where the part of coord is tested that is at stake.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
SCENARIOS = range(1, 39)


def numbers_of(test: str) -> set[int]:
    numbers = re.match(r"test_((?:s\d\d_)+)", test)
    return {int(number) for number in re.findall(r"\d\d", numbers[1])} if numbers else set()


def proven() -> set[int]:
    found: set[int] = set()
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found |= numbers_of(node.name)
    return found


def test_each_named_scenario_has_its_test() -> None:
    assert set(SCENARIOS) - proven() == set()


def test_no_test_bears_the_number_of_a_scenario_that_is_none() -> None:
    assert proven() - set(SCENARIOS) == set()
