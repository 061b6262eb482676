"""Java's properties syntax, case by case, and whatever else may stand in such a file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.config.properties import Property, parse


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("tickTime=2000", "tickTime", "2000"),
        ("tickTime = 2000  ", "tickTime", "2000"),
        ("tickTime: 2000", "tickTime", "2000"),
        ("tickTime 2000", "tickTime", "2000"),
        ("  tickTime=2000\r\n", "tickTime", "2000"),
        ("dynamicConfigFile=/a b/c", "dynamicConfigFile", "/a b/c"),
        ("server.1=[::1]:2888:3888;2181", "server.1", "[::1]:2888:3888;2181"),
        ("superDigest=super:a+b/c==", "superDigest", "super:a+b/c=="),
        ("a=${HOME}", "a", "${HOME}"),
        ("a", "a", ""),
        ("a=", "a", ""),
        (r"dataDir=C:\\zk\\data", "dataDir", r"C:\zk\data"),
        (r"a\=b\:c\ d=\u0041\t!", "a=b:c d", "A\t!"),
        ("a=1, \\\n   2, \\\n\t3", "a", "1, 2, 3"),
        ("a=1\\", "a", "1"),
        ("a=b # no comment", "a", "b # no comment"),
        ("\ufeffa=b", "a", "b"),
    ],
)
def test_one_property(text: str, key: str, value: str) -> None:
    assert list(parse(text)) == [Property(1, key, value)]


def test_comments_and_empty_lines_count_as_lines() -> None:
    text = "# a comment\n\n  ! another \\\na=1\\\n2\nb=3\na=4\n"
    assert list(parse(text)) == [Property(4, "a", "12"), Property(6, "b", "3"), Property(7, "a", "4")]


@given(st.text(alphabet="ab=: \\\n#!\tu0"))
def test_any_text_is_read(text: str) -> None:
    for line, key, value in parse(text):
        assert 1 <= line <= text.count("\n") + 1
        assert "\n" not in key + value


@given(st.dictionaries(st.text("abc.", min_size=1), st.text("abc= :\\", max_size=8)))
def test_what_was_escaped_comes_back(wanted: dict[str, str]) -> None:
    lines = [key + "=" + value.replace("\\", "\\\\") for key, value in wanted.items()]
    found = {key: value for _, key, value in parse("\n".join(lines))}
    assert found == {key: value.strip() for key, value in wanted.items()}
