"""A line of the shell, taken apart."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.cli.shell.lines import Cursor, Unclosed, before_cursor, is_secret, split


def words(text: str, *, semicolons: bool = False) -> list[list[str]]:
    return [command.words for command in split(text, semicolons=semicolons)]


def test_quotes_are_those_of_a_posix_shell() -> None:
    assert words("create /a 'b c' \"d \\\"e\\\"\" f\\ g ''") == [["create", "/a", "b c", 'd "e"', "f g", ""]]
    assert words("create /a'b c'd") == [["create", "/ab cd"]]


def test_comments_begin_a_word() -> None:
    assert words("# nothing\n  \n get /a#b # why") == [["get", "/a#b"]]
    assert split("  get /a   # why")[0].text == "get /a"


def test_semicolons_separate_only_on_request() -> None:
    assert words("set /a x;y") == [["set", "/a", "x;y"]]
    assert words("ls /; set /a 'x;y';", semicolons=True) == [["ls", "/"], ["set", "/a", "x;y"]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("get 'a", "the quote ' in column 5 is not closed"),
        ('ls /\nget "a\nls "/', 'the quote " in column 5 is not closed'),
        ("get a\\", "nothing follows the backslash in column 6"),
    ],
)
def test_a_line_ends_with_its_line(line: str, message: str) -> None:
    with pytest.raises(Unclosed) as caught:
        split(line)
    assert str(caught.value) == message


@given(st.lists(st.text(st.characters(exclude_characters="\n\r"), min_size=0), min_size=1))
def test_whatever_is_quoted_comes_back(given_words: list[str]) -> None:
    line = " ".join(shlex.quote(word) for word in given_words)
    assert words(line) == words(line, semicolons=True) == [given_words]


@given(st.text())
def test_no_line_is_too_strange(text: str) -> None:
    before_cursor(text)
    try:
        split(text, semicolons=True)
    except Unclosed:
        pass


@pytest.mark.parametrize(
    ("text", "cursor"),
    [
        ("", Cursor([], "", "")),
        ("ge", Cursor([], "ge", "ge")),
        ("get ", Cursor(["get"], "", "")),
        ("get -s '/a b", Cursor(["get", "-s"], "/a b", "'/a b")),
        ("get '/a b'", Cursor(["get"], "/a b", "'/a b'")),
        ("ls /\nget /c", Cursor(["get"], "/c", "/c")),
    ],
)
def test_what_is_before_the_cursor(text: str, cursor: Cursor) -> None:
    assert before_cursor(text) == cursor


def test_credentials_are_secrets_even_in_lines_that_cannot_be_read() -> None:
    for line in (
        "addauth digest a:b",
        "  ADDAUTH digest 'a",
        "ls /; addauth digest a:b",
        "--auth a:b x",
        "adauth digest a:b",
        "add\\auth digest a:b",
        "add'auth' digest a:b",
    ):
        assert is_secret(line), line
    assert not is_secret("get /addauthority")
    assert not is_secret("setAcl /a digest:ann:K1f=:r")
