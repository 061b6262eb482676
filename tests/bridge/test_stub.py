"""What type checkers see: `make lint` checks the uses below, the tests that the stub is what is there."""

from __future__ import annotations

import ast
import inspect
from typing import assert_type

import pytest

from coord import Stat, aio, blocking
from coord.bridge.facade import Facade
from coord.bridge.living import LIVING, VALUES
from coord.bridge.stub import TARGET, make_stub

STUB = ast.parse(make_stub())
CLASSES = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef)}


def test_the_stub_is_current() -> None:
    """If not: ``python -m coord.bridge.stub``."""
    assert TARGET.read_text(encoding="utf-8") == make_stub()


def names_of(name: str) -> set[str]:
    """What the stub has of a class, with what it inherits."""
    node = CLASSES[name]
    found = {getattr(one, "name", "") or ast.unparse(getattr(one, "target", one)) for one in node.body}
    for base in node.bases:
        inherited = ast.unparse(base).partition("[")[0]
        found |= names_of(inherited) if inherited in CLASSES else set()
    return found


@pytest.mark.parametrize("name", sorted(one.__name__ for one in LIVING if one.__name__ in VALUES))
def test_the_stub_has_every_member(name: str) -> None:
    facade = getattr(blocking, name)
    members = {
        member
        for cls in facade.__mro__
        if issubclass(cls, Facade) and cls.__module__ == "coord.blocking"
        for member in vars(cls)
        if not member.startswith("_") or member in ("__enter__", "__next__", "__getitem__")
    }
    mapping = {"keys", "values", "items", "get"}  # by `Mapping`, which the class for trio is
    assert members - names_of(name) - mapping - {"aclose"} == set()
    methods = {one.name for one in CLASSES[name].body if isinstance(one, ast.FunctionDef)}
    assert {one for one in methods if not hasattr(facade, one)} == set()


def test_signatures_are_those_for_trio_with_a_timeout() -> None:
    assert list(inspect.signature(blocking.Client.get).parameters) == [
        *("self", "path", "watch", "linearizable", "timeout")
    ]
    assert list(inspect.signature(aio.Client.get).parameters) == ["self", "path", "watch", "linearizable"]
    assert "timeout" not in inspect.signature(blocking.Client.transaction).parameters


def uses_in_threads(zk: blocking.Client) -> int:
    """Is checked, never run."""
    assert_type(zk.get("/", timeout=1), tuple[bytes, Stat])
    with blocking.Lock(zk, "/lock") as grant:
        assert_type(grant, blocking.Grant)
        assert_type(grant.wait_lost(timeout=1), bool)
    with zk.watch_children("/") as states:
        for names in states:
            assert_type(names, tuple[str, ...] | None)
    with blocking.Queue(zk, "/queue").take(timeout=1) as item:
        assert_type(item, blocking.Item)
    with blocking.watch_config(zk, "/config", lambda data: data.decode()) as config:
        assert_type(config.value, str)
    with blocking.fail_after(5):
        return blocking.Election(zk, "/lead").run(lambda term: term.token)


async def uses_in_asyncio(zk: aio.Client) -> None:
    """Is checked, never run."""
    assert_type(await zk.get("/"), tuple[bytes, Stat])
    async with aio.Lock(zk, "/lock") as grant:
        assert_type(grant, aio.Grant)
    async with zk.watch_children("/") as states:
        async for names in states:
            assert_type(names, tuple[str, ...] | None)
