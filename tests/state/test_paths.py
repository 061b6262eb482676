"""Which paths are valid, and how they come apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.state.paths import ancestors_of, is_valid, is_valid_name, name_of, parent_of


@pytest.mark.parametrize(
    "path", ["/", "/a", "/a/b", "/a b/c", "/...", "/.a", "/é", "/\u3042", "/a\u00a0", "/\uf900"]
)
def test_valid(path: str) -> None:
    assert is_valid(path)


@pytest.mark.parametrize(
    "path",
    [
        *["", "a", "a/b", "//", "//a", "/a/", "/a//b", "/.", "/..", "/a/./b", "/a/../b"],
        *["/a\0", "/\x01", "/\x1f", "/\x7f", "/\x9f"],
        *["/\ud800", "/\udfff", "/\ue000", "/\uf8ff", "/\ufff0", "/\uffff", "/\U0001f600"],
    ],
)
def test_invalid(path: str) -> None:
    assert not is_valid(path)


@given(st.text())
def test_a_path_is_valid_if_its_names_are(name: str) -> None:
    assert is_valid("/" + name) == (name == "" or all(map(is_valid_name, name.split("/"))))


@pytest.mark.parametrize(
    ("path", "parent", "name", "ancestors"),
    [
        ("/", "/", "", []),
        ("/a", "/", "a", ["/"]),
        ("/a/b/c", "/a/b", "c", ["/a/b", "/a", "/"]),
    ],
)
def test_parts(path: str, parent: str, name: str, ancestors: list[str]) -> None:
    assert parent_of(path) == parent
    assert name_of(path) == name
    assert list(ancestors_of(path)) == ancestors


@given(st.text(alphabet="a/", max_size=8))
def test_ancestors_end_whatever_the_path(path: str) -> None:
    assert len(list(ancestors_of(path))) <= len(path)
