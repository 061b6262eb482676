"""The text of a transaction: what ends an operation, what quoting does, and where an error is."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.cli.transaction_syntax import Statement, SyntaxFault, Unfinished, split


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" ;\n;; \n", []),
        ("create /a x; delete /d", [(("create", "/a", "x"), 1), (("delete", "/d"), 1)]),
        (
            "create /a\n\n  delete /b ;check /c",
            [(("create", "/a"), 1), (("delete", "/b"), 3), (("check", "/c"), 3)],
        ),
        ("set /a 'b;c # \\ d'", [(("set", "/a", "b;c # \\ d"), 1)]),
        ('set /a "x\\"y\\\\z\\n"', [(("set", "/a", 'x"y\\z\\n'), 1)]),
        ("set /a two\\ words\\;", [(("set", "/a", "two words;"), 1)]),
        ("set /a ''", [(("set", "/a", ""), 1)]),
        ("set /a b'c'\"d\"e", [(("set", "/a", "bcde"), 1)]),
        (
            "# all of it; really\ndelete /a # don't\ndelete /b#c",
            [(("delete", "/a"), 2), (("delete", "/b#c"), 3)],
        ),
        ("set /a \\\n  b", [(("set", "/a", "b"), 1)]),
        ("set /a 'two\nlines'\ndelete /b", [(("set", "/a", "two\nlines"), 1), (("delete", "/b"), 3)]),
        ("delete /a\r\ndelete /b\r\n", [(("delete", "/a"), 1), (("delete", "/b"), 2)]),
    ],
)
def test_operations_and_their_words(text: str, expected: list[tuple[tuple[str, ...], int]]) -> None:
    assert split(text) == [Statement(words, line) for words, line in expected]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("delete /a\nset /b 'x", "line 2, column 8: the quote is not closed"),
        ('"', "line 1, column 1: the quote is not closed"),
        ("delete /a\\", "line 1: nothing follows the backslash"),
    ],
)
def test_a_text_that_goes_on_is_told_from_a_wrong_one(text: str, message: str) -> None:
    with pytest.raises(Unfinished) as caught:
        split(text)
    assert str(caught.value) == message
    assert isinstance(caught.value, SyntaxFault)


@given(st.lists(st.lists(st.text(), min_size=1), min_size=1))
def test_what_a_shell_quotes_is_read_as_it_was(operations: list[list[str]]) -> None:
    text = ";".join(" ".join(map(shlex.quote, words)) for words in operations)
    assert [list(each.words) for each in split(text)] == operations
