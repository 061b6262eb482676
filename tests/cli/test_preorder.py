"""The order in which a subtree is walked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coord.cli.preorder import Preorder

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
    found = []
    for name in sorted(tree):
        path = f"{prefix}/{name}"
        found += [path, *all_paths(tree[name], path)]
    return found


@given(trees, st.integers(1, 5), st.integers(1, 5))
def test_every_znode_once_parents_first_and_brothers_by_name(tree: Nested, ask: int, take: int) -> None:
    order, walked = Preorder("/"), list[str]()
    while not order.ended:
        if some := order.take(take):
            assert len(some) <= take
            walked += some
            continue
        wanted = order.wanted(ask)
        assert 0 < len(wanted) <= ask
        for path in wanted:
            order.learn(path, list(lookup(tree, path)))
    assert walked == ["/", *all_paths(tree, "")]


def test_what_has_vanished_is_passed_over() -> None:
    order = Preorder("/a")
    order.learn("/a", ["x", "y"])
    assert order.take(10) == ["/a"]
    assert order.wanted(10) == ["/a/x", "/a/y"]
    order.learn("/a/x", None)
    order.learn("/a/y", [])
    assert order.take(10) == ["/a/y"]
    assert order.ended
