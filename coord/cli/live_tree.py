"""`coord watch --tree`: a subtree as it is now, drawn anew with each change; what is new stands out.

Owns the drawing. The copy that it draws is `recipes.Cache`'s.

Rule that holds here: a picture that may be out of date says so, and shows what was last known.

Synopsis::

    await live_tree(zk, "/app", with_data=True)  # until a key has ended it
"""

from __future__ import annotations

import trio
from rich.console import Group, RenderableType
from rich.text import Text

from coord import Client, Resynced
from coord.cli.changes import one_line
from coord.cli.screen import Screen
from recipes import Added, Cache, CachedTree, Removed, Updated

FRESH_SECONDS = 3.0
"""So long is a change shown as one."""
FRAME_SECONDS = 0.1
MARGIN_LINES = 3
"""Headline and footer."""


async def live_tree(zk: Client, path: str, *, with_data: bool = False) -> int:
    """Draws until `q` is pressed, or cancelled. Raises `NoAuth` for a path that may not be read."""
    async with Cache(zk, path) as tree:
        fresh: dict[str, float] = {}

        def draw() -> RenderableType:
            now = trio.current_time()
            new = {one for one, until in fresh.items() if until > now}
            return picture(tree, new, screen.console.height, with_data=with_data)

        async def follow() -> None:
            async for event in tree.events():
                match event:
                    case Added(one, _) | Updated(one, _, _):
                        fresh[one] = trio.current_time() + FRESH_SECONDS
                    case Removed(one, _):
                        fresh.pop(one, None)
                    case Resynced():
                        pass
                screen.touch()

        async def fade() -> None:
            while True:
                await trio.sleep(FRAME_SECONDS * 5)
                for one in [one for one, until in fresh.items() if until <= trio.current_time()]:
                    del fresh[one]
                screen.touch()

        screen = Screen(draw, lambda key: key in "qQ")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            nursery.start_soon(fade)
            await screen.run()
            nursery.cancel_scope.cancel(reason="a key has ended it")
    return 0


def picture(tree: CachedTree, fresh: set[str], height: int, *, with_data: bool) -> RenderableType:
    """As many znodes as there are lines for; `fresh` ones stand out."""
    lines = max(1, height - MARGIN_LINES)
    head = f"{tree.path}: {len(tree)} znode{'s'[: len(tree) != 1]}"
    if tree.stale:
        head += "  (may be out of date)"
    shown: list[Text] = []
    waiting = [(tree.path, 0)]
    while waiting and len(shown) < lines:
        path, depth = waiting.pop()
        if path not in tree:
            continue
        shown.append(_line(tree, path, depth, path in fresh, with_data=with_data))
        prefix = path.rstrip("/")
        waiting += [(f"{prefix}/{name}", depth + 1) for name in reversed(tree.children(path))]
    more = len(tree) - len(shown)
    foot = f"{more} more below   q: end" if more > 0 else "q: end"
    return Group(Text(head, "bold", no_wrap=True), *shown, Text(foot, "dim"))


def _line(tree: CachedTree, path: str, depth: int, fresh: bool, *, with_data: bool) -> Text:
    stat = tree[path].stat
    name = path.rpartition("/")[2] if depth else path
    text = Text("  " * depth + name, "bold yellow" if fresh else "", no_wrap=True, overflow="ellipsis")
    text.append(f"  v{stat.version}, {stat.data_length} bytes", "dim")
    if stat.ephemeral_owner:
        text.append(f", ephemeral of 0x{stat.ephemeral_owner & 0xFFFFFFFFFFFFFFFF:x}", "dim")
    if with_data and tree[path].data:
        text.append(f"  {one_line(tree[path].data)}", "cyan")
    return text
