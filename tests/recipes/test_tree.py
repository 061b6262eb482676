"""The picture of a tree: what reads do to it, and the difference between two of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coord import Node, Stat
from recipes.tree import Added, Change, Removed, Tree, Updated, difference, play

NAMES = st.sampled_from(["a", "b", "a-b"])  # "/a-b" sorts between "/a" and "/a/b"
PATHS = st.lists(NAMES, max_size=3).map(lambda names: "/".join(["/r", *names]))
NODES = st.builds(
    lambda czxid, change: node(czxid, czxid + change), st.integers(1, 3), st.sampled_from([0, 0, 10])
)


def node(czxid: int, mzxid: int) -> Node:
    return Node(str(mzxid).encode(), Stat(czxid, mzxid, 0, 0, 0, 0, 0, 0, 0, 0, 0))


def rooted(nodes: dict[str, Node]) -> dict[str, Node]:
    """Those whose parents are there, too."""
    return {path: one for path, one in nodes.items() if all(above in nodes for above in above_of(path))}


def above_of(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(2, len(parts))]


PICTURES = st.dictionaries(PATHS, NODES).map(rooted)


def check_order(changes: list[Change], nodes: dict[str, Node]) -> None:
    """Each is possible where it stands: the picture is a tree before and after."""
    for change in changes:
        match change:
            case Added(path, _):
                assert path not in nodes
            case Updated(path, new, old):
                assert nodes[path] is old
                assert old.stat.czxid == new.stat.czxid
                assert old.stat.mzxid != new.stat.mzxid
            case Removed(path, old):
                assert nodes[path] is old
        play([change], nodes)
        assert rooted(nodes) == nodes


@given(PICTURES, PICTURES)
def test_the_difference_leads_from_one_to_the_other(old: dict[str, Node], new: dict[str, Node]) -> None:
    changes = difference(old, new)
    result = dict(old)
    check_order(changes, result)
    assert result == new
    assert len({(type(change), change.path) for change in changes}) == len(changes)
    assert difference(new, new) == []


@given(st.lists(st.tuples(PATHS, NODES | st.none(), st.none() | st.sets(NAMES)), max_size=30))
def test_whatever_is_read_it_stays_a_tree(reads: list[tuple[str, Node | None, set[str] | None]]) -> None:
    tree = Tree("/r")
    for path, found, names in reads:
        before = dict(tree.nodes)
        changes = tree.gone(path) if found is None else tree.found(path, found)
        if names is not None and path in tree.nodes:
            changes += tree.listed(path, names)
            assert set(tree.children(path)) <= names
        check_order(changes, before)
        assert before == tree.nodes
        for one in tree.nodes:
            assert tree.children(one) == sorted(
                other.rpartition("/")[2] for other in tree.nodes if other.rpartition("/")[0] == one
            )


def test_what_belongs_to_it() -> None:
    whole, one, root = Tree("/r"), Tree("/r", 1), Tree("/", 1)
    assert [whole.covers(path) for path in ("/r", "/r/a/b", "/ra", "/", "/q")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert [one.covers(path) for path in ("/r", "/r/a", "/r/a/b")] == [True, True, False]
    assert [one.lists(path) for path in ("/r", "/r/a", "/q")] == [True, False, False]
    assert [root.covers(path) for path in ("/", "/a", "/a/b")] == [True, True, False]
    root.found("/", node(0, 0))
    root.found("/a", node(1, 1))
    assert root.children("/") == ["a"]
    assert root.gone("/") == [Removed("/a", node(1, 1)), Removed("/", node(0, 0))]
