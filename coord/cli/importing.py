"""`coord import`: the znodes of an export, created at a server, under the same path or another one.

Owns what happens to znodes that are there already, and the order of checks and writes. The format is
`transfer`'s.

Rules that hold here:

- Nothing is written before all of the file has been read once, and, where nothing may be overwritten, before
  it is known that nothing is in the way.
- What ends an import early says how many znodes are done (of the few hundred under way, a lost connection
  leaves open whether they were created). `--on-conflict skip` goes on from there.
- A znode has its ACL from the beginning, so that nobody reads what is not for them. (Of parents that would
  keep the import itself out see `guarded`.)
- A sequential znode keeps its name, with its number. The server's own counter does not come with it: in a new
  place, numbers begin at how many children there were.

Synopsis::

    source = Source("-")
    await source.check()  # without a connection
    await import_(zk, out, source, "/copy", on_conflict="skip")
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Literal

from coord import OPEN_ACL, Client, CoordError, NodeExists, NoNode, RequestFailed
from coord.cli.guarded import Guarded
from coord.cli.jobs import Output
from coord.cli.results import Note
from coord.cli.source import Source
from coord.cli.transfer import Znode
from coord.cli.walk import UNDER_WAY, Pipeline, for_each, portions

OnConflict = Literal["fail", "skip", "replace"]
ON_CONFLICT: Final[tuple[OnConflict, ...]] = ("fail", "skip", "replace")


@dataclass(frozen=True)
class Imported:
    """What became of the znodes; with `dry_run`, what would."""

    path: str
    created: int = 0
    replaced: int = 0
    skipped: int = 0
    dry_run: bool = False

    def text(self) -> str:
        would = "would be " if self.dry_run else ""
        done = (("created", self.created), ("replaced", self.replaced), ("skipped", self.skipped))
        parts = [f"{number} {would}{what}" for what, number in done if number or what == "created"]
        return f"{self.path}: {', '.join(parts)}"

    def json(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "created": self.created,
            "replaced": self.replaced,
            "skipped": self.skipped,
            "dry_run": self.dry_run,
        }


async def import_(
    zk: Client,
    out: Output,
    source: Source,
    path: str | None = None,
    *,
    on_conflict: OnConflict = "fail",
    open_acl: bool = False,
    dry_run: bool = False,
) -> None:
    """Creates the znodes below `path` (None: where they came from).

    Raises `Damaged`, `NodeExists` (with `fail`), `NoNode` if there is no parent for them, and what creating
    raises.
    """
    await source.check()
    with closing(source):
        root = source.root if path is None else path
        place = partial(_placed, source.root, root, open_acl=open_acl)
        closed = () if open_acl or dry_run else source.guarded
        guarded = Guarded(zk, {_moved(one, source.root, root) for one in closed})
        fresh = await _is_fresh(zk, root)
        importing = Import(zk, guarded, on_conflict, fresh=fresh, dry_run=dry_run)
        if on_conflict == "fail" and not importing.fresh:
            with out.progress("looking for conflicts", source.znodes) as advance:
                await importing.find_conflicts(map(place, source.read()), advance)
        with out.progress("importing", source.znodes) as advance:
            async with guarded, Pipeline(UNDER_WAY if importing.in_one_go else 1) as pipeline:
                for portion in portions(map(place, source.read()), size=lambda znode: znode.size):
                    await pipeline.do(partial(importing.write, portion, advance))
    if source.ephemerals:
        out(Note(f"ephemeral znodes of the export, imported as persistent ones: {source.ephemerals}"))
    out(Imported(root, importing.created, importing.replaced, importing.skipped, dry_run))


async def _is_fresh(zk: Client, root: str) -> bool:
    """Is there nothing yet that could be in the way? Raises `NoNode` if there is no place for `root`."""
    if await zk.exists(root) is not None:
        return False
    parent = root.rpartition("/")[0] or "/"
    if await zk.exists(parent) is None:
        raise NoNode(f"there is no {parent} to create it in", path=root, operation="import")
    return True


def _placed(old: str, new: str, znode: Znode, *, open_acl: bool) -> Znode:
    acl = tuple(OPEN_ACL) if open_acl else znode.acl
    return replace(znode, path=_moved(znode.path, old, new), acl=acl)


def _moved(path: str, old: str, new: str) -> str:
    below = "" if path == old else path[len(old.rstrip("/")) :]
    return f"{new.rstrip('/')}{below}" or "/"


class Import:
    """Writes znodes in portions, and counts what became of them. `fresh`: nothing was there at first."""

    def __init__(
        self, zk: Client, guarded: Guarded, on_conflict: OnConflict, *, fresh: bool, dry_run: bool
    ) -> None:
        self.fresh = fresh
        self.created = self.replaced = self.skipped = 0
        self._zk = zk
        self._guarded = guarded
        self._on_conflict = on_conflict
        self._dry_run = dry_run

    @property
    def in_one_go(self) -> bool:
        """Is nothing to be asked between two portions?"""
        return self.fresh or self._on_conflict == "fail"

    async def find_conflicts(self, znodes: Iterator[Znode], advance: Callable[[int], object]) -> None:
        """Raises `NodeExists` if any of them is there."""
        found: list[str] = []
        for portion in portions(znodes, size=lambda znode: znode.size):
            there = await self._there(portion)
            found += [znode.path for znode in portion if znode.path in there and znode.path != "/"]
            advance(len(portion))
        if found:
            others = f", and {len(found) - 1} others" if len(found) > 1 else ""
            raise NodeExists(
                f"the znode exists already{others}; nothing was written (see --on-conflict)",
                path=found[0],
                operation="import",
            )

    async def write(self, znodes: Sequence[Znode], advance: Callable[[int], object]) -> None:
        there = await self._in_the_way(znodes)
        new = [znode for znode in znodes if znode.path not in there]
        old = [znode for znode in znodes if znode.path in there]
        if self._on_conflict == "replace" and not self._dry_run:
            await self._replace(old)
        self._count_old(len(old))
        advance(len(old))
        if self._dry_run:
            self.created += len(new)
            advance(len(new))
        else:
            await self._create(new, advance)

    async def _in_the_way(self, znodes: Sequence[Znode]) -> set[str]:
        if self.fresh:
            return set()
        if self._on_conflict == "fail":  # nothing is, as was checked, but a root
            return {znode.path for znode in znodes if znode.path == "/"}
        return await self._there(znodes)

    async def _create(self, znodes: Sequence[Znode], advance: Callable[[int], object]) -> None:
        """All of them at once, or, where that cannot be done, one by one up to the one that cannot."""
        if len(znodes) > 1:
            transaction = self._zk.transaction()
            for znode in znodes:
                transaction.create(znode.path, znode.data, **self._options(znode))
            try:
                await transaction.commit()
                self._wrote(znodes)
                advance(len(znodes))
                return
            except RequestFailed:
                pass
        for znode in znodes:
            try:
                await self._zk.create(znode.path, znode.data, **self._options(znode))
                self._wrote([znode])
            except NodeExists:
                if self._on_conflict == "fail":
                    raise
                if self._on_conflict == "replace":
                    await self._replace([znode])
                self._count_old(1)
            advance(1)

    def _wrote(self, znodes: Sequence[Znode]) -> None:
        self.created += len(znodes)
        self._guarded.wrote(znodes)

    async def _replace(self, znodes: Sequence[Znode]) -> None:
        """Data and ACL of each, in this order: the ACL may take away the right to set the data."""

        async def both(znode: Znode) -> None:
            await self._zk.set(znode.path, znode.data)
            await self._zk.set_acl(znode.path, self._guarded.acl(znode))
            self._guarded.wrote([znode])

        for result in await for_each(znodes, both):
            if isinstance(result, CoordError):
                raise result

    def _count_old(self, number: int) -> None:
        if self._on_conflict == "replace":
            self.replaced += number
        else:
            self.skipped += number

    async def _there(self, znodes: Sequence[Znode]) -> set[str]:
        """The paths of those that exist."""
        paths = [znode.path for znode in znodes]
        stats = await for_each(paths, self._zk.exists)
        for stat in stats:
            if isinstance(stat, CoordError):
                raise stat
        return {path for path, stat in zip(paths, stats, strict=True) if stat is not None}

    def _options(self, znode: Znode) -> dict[str, Any]:
        ttl = None if znode.ttl_ms is None else znode.ttl_ms / 1000
        return {"acl": self._guarded.acl(znode), "container": znode.container, "ttl": ttl}
