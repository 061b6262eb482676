"""Does every link of the built site lead somewhere? Needs no network.

Owns the check: each internal link, anchor, image, style and script of the built HTML must be there; external
links are collected, and only their form is looked at (http or https, a host, no blanks).

Synopsis::

    python docs/check_links.py docs/_build/html
    python docs/check_links.py --external docs/_build/html  # lists them, too
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

EXTERNAL = re.compile(r"https?://[a-z0-9.-]+\.[a-z]+(/[^\s<>\"]*)?")


@dataclass
class Page(HTMLParser):
    """What one HTML file has (`ids`) and wants (`links`, by line)."""

    file: Path
    ids: set[str] = field(default_factory=set)
    links: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is None:
                continue
            if name == "id" or (tag == "a" and name == "name"):
                self.ids.add(value)
            elif name == "src" or (name == "href" and tag in ("a", "link")):
                self.links.append((self.getpos()[0], value))


def check(site: Path) -> tuple[list[str], set[str]]:
    """What is wrong, one line each, and all external links."""
    pages = {file.resolve(): Page(file) for file in sorted(site.rglob("*.html"))}
    external: set[str] = set()
    problems = []
    for page in pages.values():
        for line, link in page.links:
            problem = _problem(page.file, link, pages, external)
            if problem:
                problems.append(f"{page.file.relative_to(site)}:{line}: {link}: {problem}")
    if not pages:
        problems.append(f"{site}: no HTML there")
    return problems, external


def _problem(file: Path, link: str, pages: dict[Path, Page], external: set[str]) -> str:
    parts = urlsplit(link)
    if parts.scheme == "data":
        return ""
    if parts.scheme or parts.netloc:
        external.add(link)
        return "" if EXTERNAL.fullmatch(link) else "not of the form http(s)://host/path"
    target = (file.parent / unquote(parts.path)).resolve() if parts.path else file.resolve()
    if not target.is_file():
        return "no such file"
    if parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
        return "no such anchor"
    return ""


def _lines(problems: list[str], external: set[str], show_external: bool) -> Iterator[str]:
    yield from problems
    if show_external:
        yield from sorted(external)
    yield f"{len(problems)} broken links, {len(external)} external ones (not followed)"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("site", type=Path)
    parser.add_argument("--external", action="store_true", help="list the external links")
    options = parser.parse_args()
    problems, external = check(options.site)
    print("\n".join(_lines(problems, external, options.external)))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
