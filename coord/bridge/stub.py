"""``python -m coord.bridge.stub``: writes coord/blocking.pyi, what type checkers see of `coord.blocking`.

Owns the translation of the sources for trio into declarations for threads: `async def` loses its `async`, an
asynchronous context manager becomes a plain one, an asynchronous iterator an iterator, an awaitable its
value. Must not know: what the classes do.

Synopsis::

    make_stub()  # the text
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Final, TypeGuard

import coord
import recipes
from coord.bridge.facade import INTERNAL, MAPPING
from coord.bridge.living import LIVING, RECIPES, VALUES

TARGET: Final = Path(__file__).parent.parent / "blocking.pyi"

HEADER: Final = """\
# Written by `python -m coord.bridge.stub` from the sources for trio: not to be edited.
import ssl
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Generic, NoReturn, Self, TypeVar, overload

from trio import ClosedResourceError as ClosedResourceError
from trio import EndOfChannel as EndOfChannel
from trio import WouldBlock as WouldBlock

from coord.bridge.deadlines import fail_after as fail_after
from coord.bridge.deadlines import move_on_after as move_on_after
from coord.bridge.portal import TooSlowError as TooSlowError
from coord.client.operations import ReadResult
from coord.client.transaction import Result
from recipes.cache import Event
from recipes.counter import Codec
from recipes.grant import Standing
from recipes.kafka import Replicas
from recipes.lock import OnLoss
from recipes.tree import Change

T = TypeVar("T")
N = TypeVar("N", int, float)
Worker = Callable[[str, Grant], object]

class Channel(Generic[T]):
    def receive(self, *, timeout: float | None = ...) -> T: ...
    def close(self, *, timeout: float | None = ...) -> None: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> T: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None: ...

class AsyncValue(Generic[T]):
    @property
    def value(self) -> T: ...
    def wait_value(
        self, wanted: T | Callable[[T], bool], *, held_for: float = ..., timeout: float | None = ...
    ) -> T: ...
    def wait_transition(
        self, wanted: T | Callable[[T, T], bool] = ..., *, timeout: float | None = ...
    ) -> tuple[T, T]: ...
    def eventual_values(
        self, wanted: T | Callable[[T], bool] = ..., *, held_for: float = ...
    ) -> Iterator[T]: ...
    def transitions(
        self, wanted: T | Callable[[T, T], bool] = ...
    ) -> Iterator[tuple[T, T]]: ...

class AsyncBool(AsyncValue[bool]): ...
"""

EXIT: Final = (
    "def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, "
    "trace: TracebackType | None) -> bool | None: ..."
)

ATTRIBUTES: Final = {
    "Client": {"janitor": "Janitor"},
    "Transaction": {"results": "list[Result]"},
    "Guard": {"policy": "Loss", "generation": "int", "reason": "str", "over": "bool"},
    "LiveSession": {"state": "AsyncValue[SessionState]", "server": "str"},
    "Grant": {"path": "str", "token": "int", "session_id": "int"},
    "Term": {"broker_id": "int", "epoch": "int", "zk_version": "int", "chroot": "str"},
    "Item": {"name": "str", "raw": "bytes", "token": "int"},
    "ReadWriteLock": {"read": "Reading", "write": "Writing"},
    "DoubleBarrier": {"path": "str"},
    "Party": {"path": "str"},
    "Consumption": {"done": "bool", "results": "list[Result]"},
    "FencedTransaction": {"results": "list[Result]"},
    "Partitioner": {"path": "str", "items": "frozenset[str]", "identifier": "str"},
    "Lease": {"holder": "str"},
    "BrokerRegistry": {"chroot": "str"},
    "Topics": {"chroot": "str"},
}
"""those whose type an assignment does not show"""

EXTRA: Final = {
    "Client": ("def start(self) -> Self: ...", "def close(self) -> None: ..."),
}
"""what only threads have"""

NOT_PUBLIC: Final = {one.__name__ for one in LIVING} - VALUES.keys() | {"Channel", "Worker"}
MADE_BY_USERS: Final = {one.__name__ for one in RECIPES}
_TURNED: Final = {
    "AsyncIterator": "Iterator",
    "AsyncGenerator": "Iterator",
    "AbstractAsyncContextManager": "AbstractContextManager",
}


def make_stub() -> str:
    """All of it."""
    parts = [HEADER]
    for name in sorted(VALUES):
        if VALUES[name] not in LIVING and name not in ("connect", "watch_config"):
            module = "coord" if name in coord.__all__ else "recipes"
            parts.append(f"from {module} import {name} as {name}\n")
    classes = (one for one in LIVING if not one.__name__.startswith("Async"))
    parts += ("\n" + "\n".join(_class(one)) + "\n" for one in classes)
    for function in (coord.connect, recipes.watch_config):
        node = _find(sys.modules[function.__module__], function.__name__)
        assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        parts.append("\n" + "\n".join(_function(node)) + "\n")
    # Names that are no public ones are none here, either.
    return re.sub(rf"\b({'|'.join(sorted(NOT_PUBLIC))})\b(?!\.)", r"_\1", "".join(parts))


# -- classes ------------------------------------------------------------------------------------------


def _class(original: type) -> Iterator[str]:
    node = _definition(original)
    bases, members = [], []
    for base in node.bases:
        text, more = _base(base)
        bases += [text] if text else []
        members += more
    yield f"class {original.__name__}({', '.join(bases)}):" if bases else f"class {original.__name__}:"
    nodes = [node]
    if original is coord.Client:
        nodes.append(_definition(original.__mro__[1]))
    for one in nodes:
        members += _members(original.__name__, one)
    members += EXTRA.get(original.__name__, ())
    yield from (f"    {line}" for line in members or ["..."])


def _base(base: ast.expr) -> tuple[str, list[str]]:
    """What is inherited: a base class, or what it comes to."""
    text = ast.unparse(base)
    match = re.fullmatch(r"(?:trio\.abc\.)?(\w+)(?:\[(.*)\])?", text)
    assert match is not None, text
    name, argument = match[1], _annotation(base.slice) if isinstance(base, ast.Subscript) else ""
    if name in ("Acquirable", "Enterable"):
        return "", [f"def __enter__(self) -> {argument}: ...", EXIT]
    if name == "ReceiveChannel":
        return f"Channel[{argument}]", []
    return ("", []) if name == "Operations" else (text, [])


def _members(owner: str, node: ast.ClassDef) -> Iterator[str]:
    known = ATTRIBUTES.get(owner, {})
    overloaded = {one.name for one in node.body if _is_overload(one)}
    dataclass = any("dataclass" in ast.unparse(one) for one in node.decorator_list)
    for member in node.body:
        if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
            if member.name == "__init__" and not _is_overload(member):
                yield from _attributes(owner, member, known)
            if member.name in overloaded and not _is_overload(member):
                continue
            if member.name == "__aenter__":
                yield from ("def __enter__(self) -> Self: ...", EXIT)
            elif member.name == "__enter__" or _is_offered(member.name, owner):
                yield from _function(member)
            elif member.name == "__exit__":
                yield EXIT
        elif dataclass and isinstance(member, ast.AnnAssign):
            yield f"{ast.unparse(member.target)}: {_annotation(member.annotation)}"


def _is_overload(node: ast.stmt) -> TypeGuard[ast.FunctionDef]:
    return isinstance(node, ast.FunctionDef) and "overload" in map(ast.unparse, node.decorator_list)


def _is_offered(name: str, owner: str) -> bool:
    if name == "__init__":
        return owner in MADE_BY_USERS
    mapping = owner == "CachedTree" and (name in MAPPING or name == "__iter__")
    return mapping or not (name.startswith("_") or name in INTERNAL or name in ("aclose", "receive"))


def _attributes(
    owner: str, init: ast.FunctionDef | ast.AsyncFunctionDef, known: dict[str, str]
) -> Iterator[str]:
    parameters = [*init.args.posonlyargs, *init.args.args, *init.args.kwonlyargs]
    types = {one.arg: one.annotation for one in parameters if one.annotation is not None}
    for node in ast.walk(init):
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if not isinstance(target, ast.Attribute) or not isinstance(target.value, ast.Name):
            continue
        name = target.attr
        if name.startswith("_") or name in INTERNAL or not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        annotation = node.annotation if isinstance(node, ast.AnnAssign) else None
        if annotation is None or ast.unparse(annotation) == "Final":
            source = node.value
            annotation = types.get(source.id) if isinstance(source, ast.Name) else None
        text = known.get(name) or (annotation and _annotation(annotation))
        if not text:
            raise LookupError(f"the type of {owner}.{name} is to be told in ATTRIBUTES")
        yield f"{name}: {text}"


# -- functions ----------------------------------------------------------------------------------------


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    decorators = {ast.unparse(one) for one in node.decorator_list}
    yield from (f"@{one}" for one in ("property", "overload") if one in decorators)
    arguments = ast.parse(ast.unparse(node.args).join(("def f(", "): ..."))).body[0]
    assert isinstance(arguments, ast.FunctionDef)
    args = arguments.args
    for one in [*args.posonlyargs, *args.args, *args.kwonlyargs, *filter(None, (args.vararg, args.kwarg))]:
        one.annotation = _turned(one.annotation) if one.annotation else None
    ellipsis = ast.Constant(...)
    args.defaults = [ellipsis for _ in args.defaults]
    args.kw_defaults = [one and ellipsis for one in args.kw_defaults]
    entered = bool(decorators & {"asynccontextmanager", "contextmanager"})
    if isinstance(node, ast.AsyncFunctionDef) and not entered:
        _add_timeout(args)
    returns = _annotation(node.returns) if node.returns else "None"
    if entered:
        returns = re.sub(r"^Iterator\[", "AbstractContextManager[", returns)
    yield f"def {node.name}({ast.unparse(args)}) -> {returns}: ..."


def _add_timeout(args: ast.arguments) -> None:
    if "timeout" not in {one.arg for one in (*args.args, *args.kwonlyargs)}:
        annotation = ast.parse("float | None", mode="eval").body
        args.kwonlyargs.append(ast.arg("timeout", annotation))
        args.kw_defaults.append(ast.Constant(...))


class _Turning(ast.NodeTransformer):
    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:  # ast's own name
        self.generic_visit(node)
        if isinstance(node.value, ast.Name):
            if node.value.id == "Awaitable":
                return node.slice
            node.value.id = _TURNED.get(node.value.id, node.value.id)
        return node


def _turned(annotation: ast.expr) -> ast.expr:
    turned = _Turning().visit(ast.parse(ast.unparse(annotation), mode="eval").body)
    assert isinstance(turned, ast.expr)
    return turned


def _annotation(annotation: ast.expr) -> str:
    return ast.unparse(_turned(annotation))


# -- sources ------------------------------------------------------------------------------------------


@cache
def _tree(module: ModuleType) -> ast.Module:
    return ast.parse(inspect.getsource(module))


def _find(module: ModuleType, name: str) -> ast.AST:
    return next(node for node in _tree(module).body if getattr(node, "name", None) == name)


def _definition(original: type) -> ast.ClassDef:
    node = _find(sys.modules[original.__module__], original.__name__)
    assert isinstance(node, ast.ClassDef)
    return node


if __name__ == "__main__":
    TARGET.write_text(make_stub(), encoding="utf-8")
    print(f"wrote {TARGET}", file=sys.stderr)
