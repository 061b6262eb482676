"""A barrier: closed while its znode exists, open while it does not; whoever waits goes on once it is opened.

Owns that one znode, in the layout of kazoo's Barrier and Curator's DistributedBarrier.

Rules that hold here:

- Closing a closed barrier and opening an open one change nothing. An opening whose reply was lost does not
  open twice: another closing, made meanwhile, is not undone. A closing whose reply was lost is made again,
  also if somebody opened the barrier meanwhile: when `close` returns, it was closed a moment ago.
- Who waits is let through by every opening, also by one that is over (closed again) before it could look:
  another closing is another znode, with another czxid.
- Waiting goes on over lost connections and in new sessions. How long to wait is the caller's business
  (`trio.move_on_after`).

Synopsis::

    barrier = Barrier(zk, "/maintenance")
    await barrier.close()
    ...  # elsewhere: await Barrier(zk, "/maintenance").wait()
    await barrier.open()
"""

from __future__ import annotations

from collections.abc import Sequence

from coord import ACL, Client, ConnectionLost, NoNode, SessionExpired


class Barrier:
    """The barrier at `path`; `acl` is that of the znode that closes it."""

    def __init__(self, zk: Client, path: str, *, acl: Sequence[ACL] | None = None) -> None:
        self._zk = zk
        self.path = path
        self._acl = acl

    def __repr__(self) -> str:
        return f"<Barrier {self.path}>"

    async def close(self) -> None:
        """Close it: who waits from now on, waits until it is opened. Parents are made as needed."""
        parent = self.path.rpartition("/")[0]
        while True:
            try:
                if parent:
                    await self._zk.ensure_path(parent)  # with no ACL that would keep us from what is below
                await self._zk.ensure_path(self.path, acl=self._acl)
                return
            except SessionExpired:
                continue

    async def open(self) -> None:
        """Open it: everybody who waits goes on. Raises `NotEmpty` if somebody put znodes below it."""
        closed = None
        while True:
            try:
                stat = await self._zk.exists(self.path, linearizable=True)
                if stat is None or stat.czxid != (closed or stat).czxid:
                    return  # opened: by us in an attempt whose reply was lost, or by somebody else
                closed = stat
                await self._zk.delete(self.path)
                return
            except NoNode:
                return
            except (ConnectionLost, SessionExpired):
                continue

    async def closed(self) -> bool:
        """Whether it is closed at this moment."""
        while True:
            try:
                return await self._zk.exists(self.path, linearizable=True) is not None
            except SessionExpired:
                continue

    async def wait(self) -> None:
        """Return once it is open, or was opened since this call; at once if it is open."""
        closed = None
        while True:
            try:
                with self._zk.watch() as watch:
                    # As new as this call: one that was closed just before must not look open.
                    stat = await self._zk.exists(self.path, watch=watch, linearizable=True)
                    if stat is None or stat.czxid != (closed or stat).czxid:
                        return
                    closed = stat
                    await watch.wait()
            except SessionExpired:
                continue
