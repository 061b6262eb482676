"""The documentation is true: its code runs, its site builds without a warning, its links lead somewhere.

How a block is run is `documents`' business. Besides: no language goes unchecked, few blocks are not run, the
tables are as long as what they are about.
"""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import kazoo.client
import kazoo.recipe
import pytest

import coord
import recipes
from coord.config.keys import KEYS
from docs.check_links import check
from docs.extensions import graph, house, sequence, settings
from docs.extensions.api import separated
from tests.documents import LANGUAGES, Page, blocks, commands, pattern_of
from tests.servers import Flavour, ServerProcess
from tests.test_tidy import MAY_IMPORT

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(file for file in DOCS.rglob("*.md") if "_build" not in file.parts)
NOT_RUN_MAX = 3


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def name_of(page: Path) -> str:
    return page.relative_to(DOCS).with_suffix("").as_posix().replace("/", "-")


RUNNING = [page for page in PAGES if any(block.language in LANGUAGES for block in blocks(text_of(page)))]


# -- what the pages say ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ServerProcess(tmp_path_factory.mktemp("docs"), flavour=Flavour.COORD) as server:
        yield server.hosts


@pytest.mark.parametrize("file", [pytest.param(page, id=name_of(page)) for page in RUNNING])
def test_what_a_page_shows_is_so(file: Path, hosts: str, tmp_path: Path) -> None:
    with Page(text_of(file), name_of(file), tmp_path, hosts) as page:
        for block in page.blocks:
            if block.language not in LANGUAGES:
                continue
            try:
                page.run(block)
            except Exception as error:
                error.add_note(f"{file.relative_to(ROOT)}:{block.line}")
                raise
        page.finish()


def test_every_block_is_of_a_kind_that_is_checked() -> None:
    offenders = [
        f"{file.relative_to(ROOT)}:{block.line}: {block.language!r}"
        for file in PAGES
        for block in blocks(text_of(file))
        if block.language not in LANGUAGES and not block.language.startswith("{")
    ]
    assert offenders == []


def test_few_blocks_are_not_run() -> None:
    excused = [
        block for file in PAGES for block in blocks(text_of(file)) if block.language.startswith("{not-run}")
    ]
    assert all(block.options.get("why") for block in excused)
    assert len(excused) <= NOT_RUN_MAX


# -- what the pages must not forget ---------------------------------------------------------------------


def kazoos_names() -> Iterator[str]:
    """What kazoo's users call by name: the client's methods, the recipes, their methods, the states."""
    for name in vars(kazoo.client.KazooClient):
        if not name.startswith("_") and not name.endswith("_async"):
            yield name
    yield from (name for name in vars(kazoo.client.TransactionRequest) if not name.startswith("_"))
    for module in iter_modules(kazoo.recipe.__path__):
        if module.ispkg:
            continue
        recipe = import_module(f"kazoo.recipe.{module.name}")
        for name, cls in inspect.getmembers(recipe, inspect.isclass):
            if cls.__module__ == recipe.__name__ and not name.startswith(("Base", "_")):
                yield name
    yield from ("KazooState", "KazooRetry", "make_digest_acl", "SequentialThreadingHandler")
    yield from (
        "OPEN_ACL_UNSAFE",
        "CREATOR_ALL_ACL",
        "READ_ACL_UNSAFE",
        "make_acl",
        "WatchedEvent",
        "ZnodeStat",
    )


@pytest.mark.parametrize("name", sorted(set(kazoos_names())))
def test_everything_of_kazoo_has_a_place_in_the_table(name: str) -> None:
    assert re.search(rf"\b{name}\b", text_of(DOCS / "howto" / "kazoo.md"))


def test_every_key_of_zoo_cfg_has_a_meaning() -> None:
    meanings = settings.field_docstrings() | settings.ELSEWHERE
    assert [name for name, key in KEYS.items() if not meanings.get(key.field)] == []


# -- the site -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation built as `make docs` does, elsewhere."""
    out = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--nitpicky", "--keep-going", "-q"]
    done = subprocess.run(
        [*build, "-b", "html", str(DOCS), str(out)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return out


def test_the_site_builds_without_a_warning(site: Path) -> None:
    assert (site / "index.html").is_file()


def test_every_link_leads_somewhere(site: Path) -> None:
    problems, _ = check(site)
    assert problems == []


def test_the_reference_has_every_public_name(site: Path) -> None:
    pages = [text_of(page) for page in (site / "reference" / "api").glob("*.html")]
    anchors = {anchor for page in pages for anchor in re.findall(r'id="([\w.]+)"', page)}
    names = {anchor.rpartition(".")[2] for anchor in anchors}
    assert {*coord.__all__, *recipes.__all__} - names == set()


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<a href="b.html#here"></a><img src="no.png"><a href="http:x"></a>')
    (tmp_path / "b.html").write_text('<p id="there"></p>')
    problems, external = check(tmp_path)
    assert [problem.rpartition(": ")[2] for problem in problems] == [
        "no such anchor",
        "no such file",
        "not of the form http(s)://host/path",
    ]
    assert external == {"http:x"}


# -- drawings -------------------------------------------------------------------------------------------


def test_a_sequence_has_each_name_and_message() -> None:
    svg = sequence.draw(sequence.read("a | b\na -> b: one\nb --> a: two\na -x b: <three>\na, b: four"), "t")
    assert all(f">{word}</text>" in svg for word in ("a", "b", "one", "two", "&lt;three&gt;", "four"))


@pytest.mark.parametrize("line", ["a -> c: one", "a: ", "sleep a", "freeze c"])
def test_a_step_that_is_none_is_named(line: str) -> None:
    with pytest.raises(ValueError, match=re.escape(line.strip())):
        sequence.read(f"a | b\n{line}")


def test_an_arrow_to_nowhere_is_named() -> None:
    with pytest.raises(ValueError, match="'c' is in no row"):
        graph.read("a | b\na -> c")


def test_the_house_stands_on_what_it_imports() -> None:
    drawn = house.house(MAY_IMPORT)
    row = {name: number for number, names in enumerate(drawn.rows) for name in names}
    assert set(row) - drawn.bends == set(MAY_IMPORT) - {"coord.__main__"}
    assert all(row[arrow.source] + 1 == row[arrow.target] for arrow in drawn.arrows)


# -- the reading of pages -------------------------------------------------------------------------------


def test_blocks_have_their_language_options_and_line() -> None:
    text = "# One\n\n```{code-block} python\n:caption: a.py\n\nprint(1)\n```\n\n```text\n# no title\n```\n"
    first, second = blocks(text)
    assert (first.language, first.caption, first.text, first.line) == ("python", "a.py", "print(1)\n", 3)
    assert (second.language, second.text, second.title) == ("text", "# no title\n", "One")


def test_a_console_is_commands_and_what_they_print() -> None:
    found = list(commands("before\n$ one \\\n> two\nout\n^C\nended\n$ three\n"))
    assert [(one.text, one.expected, one.keys) for one in found] == [
        ("", "before\n", False),
        ("one \\\ntwo", "out\n", False),
        ("c", "ended\n", True),
        ("three", "", False),
    ]


@pytest.mark.parametrize(
    ("expected", "printed", "fits"),
    [
        ("zxid …\n", "zxid 0x10\n", True),
        ("…\nend\n", "a\nb\nend\n", True),
        ("…\n", "", True),
        ("a.c\n", "abc\n", False),
        ("a\n", "a\nb\n", False),
    ],
)
def test_what_is_left_open_may_be_anything(expected: str, printed: str, fits: bool) -> None:
    assert bool(re.fullmatch(pattern_of(expected), printed)) is fits


def test_the_plural_of_a_name_is_a_name_and_a_letter() -> None:
    assert separated("(`run`) are `def`s, in ``a``, by `x`") == "(`run`) are `def`\\ s, in ``a``, by `x`"
