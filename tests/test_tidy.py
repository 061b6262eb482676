"""The house rules that a machine can check: who imports whom, what the core may touch, how long things get.

Each rule lists its offenders, so that a failure reads like a review. ARCHITECTURE.md says why the rules are.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PRODUCT = ("coord", "recipes", "demos", "pytest_coord", "benchmarks")
LINES_MAX = 400
FUNCTION_LINES_MAX = 50

TABLES = {"coord.wire.records"}
"""Modules that may be long because they are one list, as long as the protocol it writes down."""

BASE = ("coord.errors", "coord.limits")
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "coord": ("coord.client", "coord.errors", "coord.wire.records"),
    "coord.__main__": (),
    "coord.errors": (),
    "coord.limits": (),
    "coord.logs": (),
    "coord.config": (*BASE, "coord.config"),
    "coord.wire": (*BASE, "coord.wire"),
    "coord.state": (*BASE, "coord.wire", "coord.state"),
    "coord.zab": (*BASE, "coord.wire", "coord.zab"),
    "coord.storage": (*BASE, "coord.wire", "coord.storage"),
    "coord.client": (*BASE, "coord.wire", "coord.client"),
    "coord.server": (
        *(*BASE, "coord.config", "coord.logs", "coord.wire"),
        *("coord.state", "coord.zab", "coord.storage", "coord.server"),
    ),
    "coord.cli": (
        *(
            "coord",
            "coord.__main__",
            "coord.cli",
            "coord.errors",
            "coord.limits",
            "coord.wire.records",
            "recipes",
        ),
        *("coord.client.hosts", "coord.client.paths", "coord.client.words"),
    ),
    "coord.bridge": ("coord", "coord.errors", "coord.bridge", "recipes"),
    "coord.blocking": ("coord", "coord.errors", "coord.bridge", "recipes"),
    "coord.aio": ("coord", "coord.errors", "coord.bridge", "recipes"),
    "coord.testing": (
        *("coord", "coord.bridge", "coord.config", "coord.server", "coord.storage.memory", "coord.testing"),
    ),
    "pytest_coord": ("coord.errors", "coord.logs", "coord.testing", "pytest_coord"),
    "recipes": ("coord", "coord.errors", "recipes"),
    "demos": ("coord", "coord.errors", "coord.testing", "coord.logs", "recipes", "demos"),
    "benchmarks": ("coord", "coord.aio", "coord.blocking", "coord.testing", "recipes", "benchmarks"),
}
"""For each part (the longest name that fits counts) the parts it may import; "coord" is its public names."""

CORE = (
    *("coord.errors", "coord.limits", "coord.wire", "coord.state", "coord.zab"),
    *("coord.config.keys", "coord.config.properties", "coord.config.values", "coord.config.zookeeper_keys"),
    *(
        "coord.client.calls",
        "coord.client.session",
        "coord.client.watches",
        "coord.client.requests",
        "coord.client.paths",
    ),
    *("coord.server.connection", "coord.server.replica", "coord.server.stats", "coord.server.view"),
    *("coord.server.turn", "coord.server.segment_ends", "coord.server.lobby", "coord.server.moved"),
    *("coord.server.pending", "coord.server.read_only", "coord.server.submitted", "coord.server.syncs"),
    *("coord.server.specials", "coord.server.standing", "coord.server.tracker"),
    *("coord.server.four_letter", "coord.cli.texts", "coord.cli.results"),
    *("coord.cli.deadline", "coord.cli.lines", "coord.cli.looks", "coord.cli.shell.lines"),
    *("coord.cli.bench.histogram", "coord.cli.bench.report", "coord.cli.bench.tally"),
    *("coord.cli.descent", "coord.cli.transaction_syntax", "coord.cli.transfer"),
    *(
        "recipes.entries",
        "recipes.kafka",
        "recipes.kafka_requests",
        "recipes.membership",
        "recipes.partitions",
    ),
    *("recipes.permits", "recipes.tree"),
)
"""What only computes: no await, and none of these modules."""
WAITING = {"trio", "trio_util", "asyncio", "threading", "select", "selectors", "socket", "ssl", "subprocess"}
CHANCE = {"time", "random", "secrets", "uuid", "tempfile"}
FILES = {"os", "shutil", "fcntl", "mmap"}


@dataclass(frozen=True)
class Module:
    path: Path

    @property
    def name(self) -> str:
        parts = self.path.relative_to(ROOT).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    def is_in(self, *parts: str) -> bool:
        return any(self.name == part or self.name.startswith(part + ".") for part in parts)

    def length(self) -> int:
        """In lines, from where the contract and the imports end."""
        header = (ast.Import, ast.ImportFrom, ast.Expr)
        begin = next((node.lineno for node in self.tree.body if not isinstance(node, header)), 0)
        return len(self.text.splitlines()) - begin

    def imports(self) -> Iterator[str]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.name} imports by relative path"
                yield from (_target(node.module or "", alias.name) for alias in node.names)


def _target(module: str, name: str) -> str:
    """`from coord import limits` means the module, `from coord import connect` the package."""
    full = f"{module}.{name}"
    return full if full in NAMES else module


def _modules(*folders: str) -> list[Module]:
    return [Module(path) for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


MODULES = _modules(*PRODUCT)
NAMES = {module.name for module in MODULES}


def part_of(name: str) -> str:
    """The longest name in `MAY_IMPORT` that the module is or is in; "coord" has nothing in it."""
    fitting = [
        part for part in MAY_IMPORT if name == part or (name.startswith(part + ".") and part != "coord")
    ]
    return max(fitting, key=len, default="")


def may_import(module: Module, target: str) -> bool:
    allowed = MAY_IMPORT.get(part_of(module.name), ())
    return (
        any(target == part or (target.startswith(part + ".") and part != "coord") for part in allowed)
        or target == module.name
    )


# -- who imports whom -----------------------------------------------------------------------------------


def test_every_module_has_its_place() -> None:
    assert [module.name for module in MODULES if not part_of(module.name)] == []


def test_imports_go_one_way() -> None:
    offenders = [
        f"{module.name} imports {target}"
        for module in MODULES
        for target in module.imports()
        if target.split(".")[0] in PRODUCT and not may_import(module, target)
    ]
    assert offenders == []


def test_the_core_only_computes() -> None:
    """Storage may use files, and nothing else of the world."""
    offenders = []
    for module in MODULES:
        forbidden = WAITING | CHANCE | FILES if module.is_in(*CORE) else set()
        if module.is_in("coord.storage"):
            forbidden = WAITING | CHANCE
        offenders += [
            f"{module.name} imports {one}" for one in module.imports() if one.split(".")[0] in forbidden
        ]
        if forbidden and any(
            isinstance(node, ast.AsyncFunctionDef | ast.Await) for node in ast.walk(module.tree)
        ):
            offenders.append(f"{module.name} awaits")
    assert offenders == []


def test_the_core_exists() -> None:
    assert [part for part in CORE if not any(module.is_in(part) for module in MODULES)] == []


def test_only_the_command_line_and_those_who_draw_know_the_extra_cli() -> None:
    """Views and tables import rich only where they draw with it: without rich, they print lines."""
    offenders = [
        f"{module.name} imports {target}"
        for module in MODULES
        for target in module.imports()
        if target.split(".")[0] in {"click", "rich", "prompt_toolkit"}
        and not module.is_in("coord.cli", "demos._view", "benchmarks.table")
    ]
    assert offenders == []


# -- size, names, words -----------------------------------------------------------------------------------


def test_modules_stay_short() -> None:
    lengths = {module.name: module.length() for module in MODULES if module.name not in TABLES}
    assert {name: lines for name, lines in lengths.items() if lines > LINES_MAX} == {}


def test_functions_stay_short() -> None:
    offenders = [
        f"{module.name}.{node.name}: {lines} lines"
        for module in MODULES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]
    assert offenders == []


def test_every_module_opens_with_its_contract() -> None:
    """More than a title: what it owns, what it must not know, which rules hold."""
    offenders = []
    for module in MODULES:
        paragraphs = (ast.get_docstring(module.tree) or "").split("\n\n")
        wanted = 1 if module.path.name == "__init__.py" else 2
        if module.tree.body and len([p for p in paragraphs if p]) < wanted:
            offenders.append(module.name)
    assert offenders == []


def test_names_say_what_a_thing_is() -> None:
    files = [
        module.name for module in MODULES if re.search(r"\b(utils?|helpers?|common|misc)\b", module.name)
    ]
    classes = [
        f"{module.name}.{node.name}"
        for module in MODULES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
        and re.search(r"(Manager|Handler|Processor|Helper|Utils?)$", node.name)
    ]
    assert files + classes == []


def test_whoever_silences_a_checker_says_why() -> None:
    silenced = re.compile(r"#\s*(?:noqa|type:\s*ignore)(?::\s*[A-Z0-9, ]+|\[[\w, -]+\])?(?P<reason>.*)")
    offenders = [
        f"{module.path.relative_to(ROOT)}:{number}"
        for module in _modules(*PRODUCT, "tests")
        for number, line in enumerate(module.text.splitlines(), start=1)
        if (match := silenced.search(line)) and not re.search(r"\w{3}", match["reason"])
    ]
    assert [one for one in offenders if not one.startswith("tests/test_tidy.py")] == []


# -- documents ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", ["README.md", "ARCHITECTURE.md"])
def test_documents_name_only_what_exists(document: str) -> None:
    """Files by their path or the end of it (as the tree of the house does), folders by their path."""
    text = (ROOT / document).read_text(encoding="utf-8")
    paths = [path.relative_to(ROOT).as_posix() for path in _documented()]
    files = set(re.findall(r"(?<![\w/.:*<-])[\w./-]*\w\.(?:py|md|toml)\b(?!\w)", text))
    missing = [name for name in files if not any(f"/{path}".endswith(f"/{name}") for path in paths)]
    folders = set(re.findall(rf"(?<![\w/.-])(?:{'|'.join((*PRODUCT, 'tests'))})/(?:[\w-]+/)*", text))
    missing += [name for name in folders if not (ROOT / name).is_dir()]
    assert sorted(missing) == []


def _documented() -> Iterator[Path]:
    yield from ROOT.glob("*.*")
    for folder in (*PRODUCT, "docs", "tests", ".ci"):
        yield from (path for path in (ROOT / folder).rglob("*.*") if path.is_file())
