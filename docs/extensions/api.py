"""The reference of the Python modules: one page for each line of `api_modules`, from ``__all__``.

Owns which page documents what, and in which order. The pages are written to ``reference/api/`` when a build
begins, and are not kept.

A public name is documented as what users import (`coord.Client`), under the module that defines it: its
docstring has the contract of what follows.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Sequence
from enum import Enum
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from sphinx.application import Sphinx

FOLDER: Final = Path("reference", "api")
WITHOUT: Final = "object, tuple, int, str, Enum, IntEnum, IntFlag, Exception, AsyncResource, ReceiveChannel"
"""Classes whose members are not ours to document."""


def write_pages(app: Sphinx) -> None:
    folder = Path(app.srcdir) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    modules: dict[str, str] = app.config.api_modules
    wanted = {f"{name}.rst" for name in modules}
    for stale in [one for one in folder.iterdir() if one.name not in wanted]:
        stale.unlink()
    for name, title in modules.items():
        elsewhere = told_elsewhere(name, list(modules))
        besides = app.config.api_besides.get(name, [])
        text = page(import_module(name), f"{name}: {title}", elsewhere, besides)
        file = folder / f"{name}.rst"
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def told_elsewhere(name: str, modules: Sequence[str]) -> list[str]:
    """The public names of a module that have their place on the page of another one: of the one that defines
    them, or of one before it that has the same names (`coord.blocking` mirrors `coord`)."""
    module = import_module(name)
    before = {
        one for earlier in modules[: modules.index(name)] for one in public_names(import_module(earlier))
    }
    makers = {one: _maker(module, one) for one in public_names(module)}
    return [one for one, maker in makers.items() if maker != name and (one in before or maker in modules)]


def page(module: ModuleType, title: str, elsewhere: Sequence[str] = (), besides: Sequence[str] = ()) -> str:
    """`elsewhere` are names that are only listed; `besides` are classes that have no public name."""
    lines = [title, "=" * len(title), "", f".. automodule:: {module.__name__}", "   :no-members:", ""]
    lines += [f".. py:currentmodule:: {module.__name__}", ""]
    if elsewhere:
        listed = ", ".join(f"`{name}`" for name in sorted(elsewhere))
        lines += [f"By the same names as elsewhere in this reference: {listed}.", ""]
    homes = _homes(module, [name for name in public_names(module) if name not in elsewhere])
    for home, names in homes.items():
        if len(homes) > 1:
            lines += _heading(home, module.__name__)
        for name in names:
            lines += _documented(module, name)
    if besides:
        lines += ["", "Met, not imported", "-----------------", ""]
    for full in besides:
        lines += [f".. autoclass:: {full}", "   :members:", f"   :inherited-members: {WITHOUT}", ""]
    return "\n".join(lines)


def _homes(module: ModuleType, public: Sequence[str]) -> dict[str, list[str]]:
    """Public names by the module that defines them, in the order in which each is defined."""
    homes: dict[str, list[str]] = {}
    for name in public:
        homes.setdefault(_home(module, name), []).append(name)
    for home, names in homes.items():
        names.sort(key=lambda name: _line(module, home, name))
    return dict(sorted(homes.items(), key=lambda item: (item[0].endswith("errors"), item[0])))


def public_names(module: ModuleType) -> list[str]:
    """``__all__``, or where there is none the classes that are defined there."""
    named = getattr(module, "__all__", None)
    if named is not None:
        return list(named)
    return [
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and not name.startswith("_") and value.__module__ == module.__name__
    ]


def _home(module: ModuleType, name: str) -> str:
    """The module inside of this one that makes it, or this one."""
    maker = _maker(module, name)
    return maker if maker.startswith(f"{module.__name__}.") else module.__name__


def _maker(module: ModuleType, name: str) -> str:
    value = getattr(module, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        return str(value.__module__)
    for home in sorted(one for one in sys.modules if one.startswith(module.__name__ + ".")):
        text = _source(home)
        if getattr(sys.modules[home], name, None) is value and f"\n{name}" in text:
            return home
    return module.__name__


def _source(name: str) -> str:
    file = getattr(sys.modules[name], "__file__", None)
    return Path(file).read_text(encoding="utf-8") if file else ""


def _line(module: ModuleType, home: str, name: str) -> int:
    text = _source(home)
    found = [text.find(f"\n{begin}{name}") for begin in ("class ", "def ", "async def ", "")]
    return min([one for one in found if one >= 0] or [len(text)])


def _heading(home: str, module: str) -> list[str]:
    title = home.removeprefix(module + ".")
    paragraphs = (inspect.getdoc(import_module(home)) or "").split("\n\n")
    told = "\n\n".join(one for one in paragraphs if not one.startswith("Owns "))  # which is for contributors
    return ["", title, "-" * len(title), "", *separated(told).splitlines(), ""]


def _documented(module: ModuleType, name: str) -> list[str]:
    value = getattr(module, name)
    if not inspect.isclass(value):
        kind = "autofunction" if callable(value) and hasattr(value, "__code__") else "autodata"
        if kind == "autodata":
            return [f".. py:data:: {name}", "   :no-index-entry:", "", f"   {_data_doc(module, name)}", ""]
        return [f".. {kind}:: {module.__name__}.{name}", ""]
    kind = "autoexception" if issubclass(value, BaseException) else "autoclass"
    lines = [f".. {kind}:: {module.__name__}.{name}", "   :members:", f"   :inherited-members: {WITHOUT}"]
    if issubclass(value, BaseException):
        lines = lines[:2]
    if hasattr(value, "encode") and hasattr(value, "read"):  # which is between client and server
        lines.append("   :exclude-members: encode, read")
    if issubclass(value, Enum) or hasattr(value, "_fields"):
        lines.append("   :undoc-members:")
    return [*lines, ""]


def _data_doc(module: ModuleType, name: str) -> str:
    """The text under a constant, and its value where that is short."""
    home = _home(module, name)
    text = _source(home).partition(f"\n{name}")[2].split("\n", 1)[-1]
    said = text.split('"""')[1] if text.startswith('"""') else ""
    return " ".join(said.split()) or f"``{getattr(module, name)!r}``"


def without_constructor(
    app: Sphinx, kind: str, name: str, value: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None] | None:
    """A constructor that takes what is not public is not for users, who get such objects from others."""
    if kind not in ("class", "exception") or signature is None:
        return None
    public = {name for module in app.config.api_modules for name in public_names(import_module(module))}
    ours = re.findall(r"~?(?:coord|recipes)(?:\.\w+)*\.(\w+)", signature)
    return ("", None) if any(len(one) > 1 and one not in public for one in ours) else None


def mend(app: Sphinx, kind: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Drops what Python says of named tuples' fields by itself; lets plurals of names be."""
    if lines and lines[0].startswith("Alias for field number"):
        lines.clear()
    lines[:] = [separated(line) for line in lines]


def separated(text: str) -> str:
    """With a break that does not show between a name in backticks and a letter that follows it."""
    return re.sub(r"``.*?``|`[^`]*`", _separated, text)


def _separated(match: re.Match[str]) -> str:
    follows = match.string[match.end() : match.end() + 1]
    return match[0] + ("\\ " if follows.isalnum() and not match[0].startswith("``") else "")


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_config_value("api_modules", {}, "env")
    app.add_config_value("api_besides", {}, "env")
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-process-signature", without_constructor)
    app.connect("autodoc-process-docstring", mend)
    return {"parallel_read_safe": True}
