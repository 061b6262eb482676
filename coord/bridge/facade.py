"""Classes for the other side of the bridge, made from those for trio.

Owns what becomes of each member of a class: a coroutine method is a call that waits, a plain method or a
property is evaluated in the trio thread, a context manager gives a block, an asynchronous iterator a plain
one. What comes back is wrapped if it lives (a client, a grant, a watch), and passed as it is if it is a
value; what is passed in is unwrapped, and functions are adapted. Must not know: recipes, or how a side waits
(`Side`).

Synopsis::

    facades = Facades(Threads(), "coord.blocking", [Client, Lock, Grant])
    lock = facades[Lock](zk, "/jobs")  # zk is a facade, too
"""

from __future__ import annotations

import functools
import inspect
import re
import typing
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from types import FunctionType, MethodType
from typing import Any, ClassVar, Final, Self

import trio

from coord.bridge.portal import Portal
from coord.errors import ClientClosed, ForkedClient

INTERNAL: Final = frozenset(
    (
        *("fired", "session_ended", "resynced", "refresh", "push", "lose", "scope", "end"),
        *("given_up", "give_up", "accept", "refuse", "tell", "publish", "set_behind"),
    )
)
"""public in the code for trio, for others of coord: not to be offered"""

OURS: Final = frozenset(("coord", "recipes", "trio", "trio_util", "contextlib", "builtins"))
"""packages whose context managers and iterators are for trio; those of others are their users' own"""

MAPPING: Final = ("__getitem__", "__len__", "__contains__")


class Side(ABC):
    """How one side waits. Whatever is called with a `Portal` is called outside of its thread."""

    name: str
    """of the module that its users import"""
    manager: str
    """what its context managers are called in signatures"""
    renamed: ClassVar[dict[str, str]] = {}
    """members that go by another name there"""

    facades: Facades

    def told(self, text: str) -> str:
        """A docstring in this side's terms."""
        return re.sub(r"\btrio\.(?=TooSlow|WouldBlock|Closed|EndOf|fail_after|move_on)", "", text)

    def annotation(self, annotation: Any) -> Any:
        """One of a signature, in this side's terms; most are strings."""
        return annotation

    @abstractmethod
    def method(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        """For a coroutine method: ``f(self, *args, **kwargs)``."""

    @abstractmethod
    def block_members(self, *, is_async: bool) -> dict[str, Callable[..., Any]]:
        """The members that make a facade a context manager."""

    @abstractmethod
    def iterator_members(self) -> dict[str, Callable[..., Any]]:
        """The members that make a facade an iterator."""

    @abstractmethod
    def adapted(self, fn: Callable[..., Any], portal: Portal) -> Callable[..., Awaitable[Any]]:
        """For trio to await: a user's function of this side."""


class Facade:
    """Stands for an object of the trio thread."""

    __slots__ = ("__weakref__", "_blocks", "_entered", "_portal", "_real", "_stop")
    _facades: ClassVar[Facades]

    _portal: Portal
    _real: Any
    _blocks: list[tuple[object, Any]]
    """those that are entered, and by whom"""
    _entered: bool
    """can it be used? A client cannot before it is entered"""
    _stop: Any
    """what a function's thread is told with to come to an end; None elsewhere"""

    def __class_getitem__(cls, of: object) -> type[Self]:
        return cls

    def _stand_for(self, portal: Portal, real: Any) -> None:
        self._portal, self._real = portal, real
        self._blocks, self._entered, self._stop = [], True, None

    def _check(self) -> None:
        """Raises RuntimeError if it cannot be used yet."""

    def __repr__(self) -> str:
        if inspect.getattr_static(self._real, "__repr__") is object.__repr__:
            return str(object.__repr__(self))
        try:
            return str(self._facades.here(self._portal, repr, self._real))
        except ForkedClient:
            return f"<{type(self).__name__} of another process>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Facade) and self._real is other._real

    def __hash__(self) -> int:
        return id(self._real)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in INTERNAL:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return self._facades.wrap(self._portal, getattr(self._real, name))


class Facades:
    """All classes of one side; `classes` are those for trio that need one of their own."""

    def __init__(self, side: Side, classes: Iterable[type], mixins: Mapping[type, type[Facade]] = {}) -> None:
        self.side: Final = side
        side.facades = self
        self._root = type("Facade", (Facade,), {"__slots__": (), "_facades": self, "__module__": side.name})
        self._classes: dict[type, type[Facade]] = {}
        self._mixins = mixins
        for one in (*classes, Values, Entry, PlainEntry):
            self._classes[one] = self._made(one)

    def __getitem__(self, original: type) -> type[Any]:
        return self._classes[original]

    # -- objects ------------------------------------------------------------------------------------

    def wrap(self, portal: Portal, value: Any) -> Any:
        """What `value` is on this side."""
        cls = self._class_of(value)
        if cls is None:
            return value
        facade = object.__new__(cls)
        facade._stand_for(portal, value)
        return facade

    def _class_of(self, value: Any) -> type[Facade] | None:
        for one in type(value).__mro__:
            if one in self._classes:
                return self._classes[one]
        if isinstance(value, type) or type(value).__module__.partition(".")[0] not in OURS:
            return None
        if hasattr(value, "__anext__"):
            return self._classes[Values]
        if hasattr(value, "__aenter__"):
            return self._classes[Entry]
        if isinstance(value, AbstractContextManager):
            return self._classes[PlainEntry]
        return None

    def unwrap(self, portal: Portal, value: Any, *, awaited: bool = False) -> Any:
        """What `value` is for trio; `awaited` if it is a function whose result trio will await."""
        if isinstance(value, Facade):
            return self._real_of(portal, value)
        if isinstance(value, MethodType) and isinstance(value.__self__, Facade):
            return getattr(self._real_of(portal, value.__self__), value.__name__)
        if self._class_of(value) is not None and type(value).__module__.startswith(("coord.", "recipes.")):
            raise TypeError(f"{value!r} is for trio, and not for {self.side.name}")
        if isinstance(value, type) or not callable(value):
            return value
        return self.side.adapted(value, portal) if awaited else self._asked(portal, value)

    def _real_of(self, portal: Portal, facade: Facade) -> Any:
        if facade._facades is not self:
            other = facade._facades.side.name
            raise TypeError(f"{facade!r} is from {other}, and does not go with {self.side.name}")
        if facade._portal is not portal:
            raise ValueError(f"{facade!r} belongs to another portal than the rest")
        facade._check()
        return facade._real

    def _asked(self, portal: Portal, fn: Callable[..., Any]) -> Callable[..., Any]:
        """A plain function that trio calls, in its own thread."""

        @functools.wraps(fn)
        def asked(*args: Any) -> Any:
            return self.given_back(portal, fn(*(self.wrap(portal, one) for one in args)))

        return asked

    def given_back(self, portal: Portal, result: Any) -> Any:
        """What a user's function has returned, for trio."""
        return self._real_of(portal, result) if isinstance(result, Facade) else result

    def arguments(
        self, portal: Portal, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Those of a call of `fn`, for trio."""
        if not any(callable(one) for one in (*args, *kwargs.values())):
            return [self.unwrap(portal, one) for one in args], {
                name: self.unwrap(portal, one) for name, one in kwargs.items()
            }
        awaited = _awaited(fn)
        names = [name for name in inspect.signature(fn).parameters if name != "self"]
        return (
            [
                self.unwrap(portal, one, awaited=name in awaited)
                for name, one in zip([*names, *("" for _ in args)], args, strict=False)
            ],
            {name: self.unwrap(portal, one, awaited=name in awaited) for name, one in kwargs.items()},
        )

    def here(self, portal: Portal, fn: Callable[..., Any], *args: Any) -> Any:
        """``fn(*args)`` in the trio thread; here, if that has ended."""
        if portal.usable or portal.foreign:
            return portal.call_sync(fn, *args)
        return fn(*args)

    # -- classes ------------------------------------------------------------------------------------

    def _made(self, original: type) -> type[Facade]:
        bases = (self._mixins[original],) if original in self._mixins else ()
        members: dict[str, Any] = {"__slots__": (), "__module__": self.side.name}
        members["__doc__"] = _text(original.__doc__, self.side)
        members["__init__"] = self._constructor(original)
        for name, member in _members(original):
            if name not in self.side.renamed:
                self._add(members, name, member)
            elif self.side.renamed[name]:
                self._add(members, self.side.renamed[name], member)
        if hasattr(original, "__anext__"):
            members |= self.side.iterator_members() | {"__del__": _forget}
        if hasattr(original, "__aenter__"):
            members |= self.side.block_members(is_async=True)
        elif hasattr(original, "__enter__"):
            members |= self.side.block_members(is_async=False)
        if hasattr(original, "__getitem__") and not hasattr(original, "__anext__"):
            members["__iter__"] = _iterating
        for base in bases:
            own = vars(base).keys() - {"__doc__", "__module__", "__slots__"}
            members = {name: one for name, one in members.items() if name not in own}
        return type(original.__name__.lstrip("_"), (*bases, self._root), members)

    def _add(self, members: dict[str, Any], name: str, member: Any) -> None:
        if isinstance(member, property):
            members[name] = property(_read(name), doc=_text(member.__doc__, self.side))
        elif inspect.iscoroutinefunction(member):
            members[name] = self._dressed(name, member, self.side.method(member.__name__, member))
        elif isinstance(member, FunctionType):
            members[name] = self._dressed(name, member, _plain(member.__name__, member))

    def _dressed(self, name: str, original: Callable[..., Any], method: Callable[..., Any]) -> Any:
        """`method`, with the name, text and signature of the original."""
        method.__name__, method.__qualname__ = name, f"{original.__qualname__.rpartition('.')[0]}.{name}"
        method.__doc__, method.__module__ = _text(original.__doc__, self.side), self.side.name
        signature = getattr(method, "__signature__", None) or self._signature(original)
        annotation = self.side.annotation
        method.__signature__ = signature.replace(  # type: ignore[attr-defined]  # help() reads it
            parameters=[
                one.replace(annotation=annotation(one.annotation)) for one in signature.parameters.values()
            ],
            return_annotation=annotation(signature.return_annotation),
        )
        return method

    def _signature(self, original: Callable[..., Any]) -> inspect.Signature:
        signature = inspect.signature(original)
        if not inspect.isasyncgenfunction(inspect.unwrap(original)):
            return signature
        returns = re.sub(r"^AsyncIterator", self.side.manager, str(signature.return_annotation))
        return signature.replace(return_annotation=returns)

    def _constructor(self, original: type) -> Any:
        facades, init = self, vars(original).get("__init__", original.__init__)  # type: ignore[misc]  # a class's

        def construct(self: Facade, *args: Any, **kwargs: Any) -> None:
            portal = next((one._portal for one in (*args, *kwargs.values()) if isinstance(one, Facade)), None)
            if portal is None:
                raise TypeError(f"{type(self).__name__} takes a client of {facades.side.name}")
            real_args, real_kwargs = facades.arguments(portal, init, args, kwargs)
            self._stand_for(portal, portal.call_sync(functools.partial(original, *real_args, **real_kwargs)))

        return self._dressed("__init__", init, construct)

    def function(self, original: Callable[..., Any], portal_of: Callable[[], Portal]) -> Any:
        """A function for this side that makes something living; with no facade among its arguments, in the
        portal of `portal_of`."""

        def function(*args: Any, **kwargs: Any) -> Any:
            given = next((one._portal for one in (*args, *kwargs.values()) if isinstance(one, Facade)), None)
            portal = given or portal_of()
            real_args, real_kwargs = self.arguments(portal, original, args, kwargs)
            make = functools.partial(original, *real_args, **real_kwargs)
            made = self.wrap(portal, portal.call_sync(make))
            made._entered = False
            return made

        function = self._dressed(original.__name__, original, function)
        function.__qualname__ = original.__name__
        return function


class Values:
    """Values that come one after the other; they end where there will be no more."""

    async def __anext__(self) -> Any: ...


class Entry:
    """To be entered: the block begins when it is granted."""

    async def __aenter__(self) -> Any: ...

    async def __aexit__(self, *_: object) -> None: ...


class PlainEntry:
    """To be entered, and without waiting for anything."""

    def __enter__(self) -> Any: ...

    def __exit__(self, *_: object) -> None: ...


# -- members ------------------------------------------------------------------------------------------


def _members(original: type) -> Iterator[tuple[str, Any]]:
    """Those of a class that are for its users."""
    seen: set[str] = set()
    for cls in original.__mro__:
        if cls.__module__ in ("builtins", "abc", "typing") or cls is trio.abc.AsyncResource:
            continue
        for name, member in vars(cls).items():
            if name not in seen and name not in INTERNAL and (not name.startswith("_") or name in MAPPING):
                yield name, member
            seen.add(name)


def _read(name: str) -> Callable[[Facade], Any]:
    def read(self: Facade) -> Any:
        value = self._facades.here(self._portal, getattr, self._real, name)
        return self._facades.wrap(self._portal, value)

    return read


def _plain(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    """For a method that does not wait."""

    def method(self: Facade, *args: Any, **kwargs: Any) -> Any:
        self._check()
        real_args, real_kwargs = self._facades.arguments(self._portal, original, args, kwargs)
        call = functools.partial(getattr(self._real, name), *real_args, **real_kwargs)
        return self._facades.wrap(self._portal, self._facades.here(self._portal, call))

    return method


def _iterating(self: Facade) -> Iterator[Any]:
    return iter(self._facades.here(self._portal, list, self._real))


def _forget(self: Facade) -> None:
    """Whoever leaves a loop early need not close what it looped over."""
    if hasattr(self._real, "aclose") and not self._blocks and self._portal.usable:
        try:
            self._portal.submit(self._real.aclose)
        except ClientClosed:
            pass


@functools.cache
def _awaited(fn: Callable[..., Any]) -> frozenset[str]:
    """The parameters that are functions whose result is awaited."""
    try:
        hints = typing.get_type_hints(fn)
    except (NameError, TypeError):
        return frozenset()
    return frozenset(name for name, hint in hints.items() if _gives_awaitable(hint))


def _gives_awaitable(hint: Any) -> bool:
    return typing.get_origin(hint) is Callable and typing.get_origin(typing.get_args(hint)[-1]) is Awaitable


def _text(text: str | None, side: Side) -> str | None:
    return text and side.told(text)
