"""The order in which a subtree is walked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coord.cli.descent import Descent

Nested = dict[str, "Nested"]
names = st.sampled_from(["a", "b", "c", "d"])
trees: st.SearchStrategy[Nested] = st.recursive(
    st.just({}), lambda inner: st.dictionaries(names, inner), max_leaves=40
)


def lookup(tree: Nested, path: str) -> Nested:
    for name in filter(None, path.split("/")):
        tree = tree[name]
    return tree


def all_paths(tree: Nested, prefix: str) -> list[str]:
    paths = [f"{prefix}/{name}" for name in sorted(tree)]
    for name in sorted(tree):
        paths += all_paths(tree[name], f"{prefix}/{name}")
    return paths


@given(trees, st.integers(1, 5), st.integers(1, 5))
def test_every_znode_once_and_in_zkclis_order(tree: Nested, ask: int, take: int) -> None:
    descent, walked = Descent("/"), list[str]()
    while True:
        if some := descent.take(take):
            assert len(some) <= take
            walked += some
            continue
        wanted = descent.wanted(ask)
        assert len(wanted) <= ask
        if not wanted:
            break
        for path in wanted:
            descent.learn(path, list(lookup(tree, path)))
    assert walked == ["/", *all_paths(tree, "")]


def test_what_has_vanished_has_nothing_below_it() -> None:
    descent = Descent("/a")
    assert descent.take(10) == []
    descent.learn("/a", ["y", "x"])
    assert descent.take(10) == ["/a", "/a/x", "/a/y"]
    assert descent.wanted(10) == ["/a/x", "/a/y"]
    descent.learn("/a/x", None)
    descent.learn("/a/y", [])
    assert descent.take(10) == []
    assert descent.wanted(10) == []
