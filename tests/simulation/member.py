"""One simulated member: a `Peer`, its disk, its links, its clock. The server's shell, in virtual time.

Owns what the caller of a `Peer` owes it: work goes to the disk in order, links do not outlive the role, a
follower without a link keeps trying. Tells the `Chronicle` of everything that checkers want to see, before it
happens.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from coord.wire.members import LinkMessage, Proposal, Vote
from coord.zab.following import Following
from coord.zab.leading import Leading
from coord.zab.learner import Fetch
from coord.zab.links import Link
from coord.zab.peer import Peer, Role, Work
from tests.simulation.disk import Disk
from tests.simulation.network import End
from tests.simulation.process import Process
from tests.simulation.trace import describe, name

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster

CONNECT_AGAIN = 0.2
CONNECT_AGAIN_MAX = 4.0


class Member(Process):
    def __init__(self, cluster: Cluster, member_id: int, disk: Disk | None = None) -> None:
        super().__init__(cluster.timeline)
        self.id = member_id
        self.disk = disk or Disk()
        self.up = False
        self.peer: Peer
        self.applied = 0
        """how many proposals of the history"""
        self.view: list[Proposal] = []
        """the history as the replica above the peer sees it"""
        self.clock_rate = 1.0
        self.sync_time = 0.1
        self.depth = 1
        """how many works the disk takes at once"""
        self.stalled_until = 0.0
        self.disk_fails = False
        self._cluster = cluster
        self._random = cluster.random
        self._ends: dict[Link, End] = {}
        self._under_way: deque[Work] = deque()
        self._role: Role
        self._connecting = False
        self._connect_pause = CONNECT_AGAIN

    # -- life -----------------------------------------------------------------------------------------

    def start(self) -> None:
        assert not self.up
        cluster, disk = self._cluster, self.disk
        self.up = True
        self.incarnation += 1
        self.paused_until = 0.0
        cluster.note(self.id, "starts with %s, epochs %s", name(disk.last_zxid), tuple(disk.epochs))
        self.view = list(disk.history)
        self._recover()
        self.applied = disk.count(disk.snapshot)
        self._ends, self._under_way, self._connecting = {}, deque(), False
        self._role = self.peer.role
        self._later(self.clock_rate * self._random.random(), self._tick)
        self._settle()

    def _recover(self) -> None:
        """What the process makes of its disk."""
        cluster, disk = self._cluster, self.disk
        self.peer = Peer(
            self.id,
            cluster.quorum,
            last_zxid=disk.last_zxid,
            epochs=disk.epochs,
            ends=disk.ends(disk.snapshot),
            base=disk.snapshot,
            observers=cluster.observers,
            timing=cluster.timing,
            recent_bytes=cluster.recent_bytes,
            in_flight_bytes=cluster.in_flight_bytes,
        )

    def crash(self, *, host_too: bool) -> None:
        """The process ends; with its host, and nobody is told."""
        assert self.up
        self.up = False
        self.incarnation += 1
        left = self.disk.crash(self._under_way, self._random)
        self._cluster.note(self.id, "%s: %s", "loses power" if host_too else "crashes", left)
        for end in self._ends.values():
            if host_too:
                self._cluster.network.vanish(end)
            else:
                self._cluster.network.close(end)
        self._cluster.chronicle.disk_changed()

    def pause(self, ticks: float) -> None:
        self._cluster.note(self.id, "is stopped for %.1f ticks", ticks)
        self._pause(ticks)

    # -- what comes in --------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._later(self.clock_rate, self._tick)
        self.peer.tick()
        self._settle()

    def hear(self, sender: int, vote: Vote) -> None:
        if self.up and not self.defer(partial(self.hear, sender, vote)):
            self._cluster.note(self.id, "<- %d  %s", sender, describe(vote))
            self.peer.hear(sender, vote)
            self._settle()

    def receive(self, end: End, message: LinkMessage) -> None:
        self._cluster.note(self.id, "<- %d  %s", end.link.member, describe(message))
        if self._cluster.trap(self, end, message):
            return
        self.peer.receive(end.link, message)
        self._settle()

    def accepted(self, end: End) -> None:
        """Somebody takes this member for its leader."""
        if self.peer.linked(end.link):
            self._ends[end.link] = end
        else:
            self._cluster.network.close(end)
        if self.peer.leading and self._random.random() < 0.3:
            self._cluster.chronicle.asks(self)  # among them is one that does not follow yet
        self._settle()

    def connected(self, end: End | None) -> None:
        """An attempt to reach the leader has ended."""
        self._connecting = False
        if end is not None:
            wanted = isinstance(self._role, Following) and self._role.leader == end.link.member
            if wanted and self.peer.linked(end.link):
                self._ends[end.link] = end
            else:
                self._cluster.network.close(end)
        self._settle()

    def disconnected(self, end: End) -> None:
        self._cluster.note(self.id, "<- %d  (closed)", end.link.member)
        del self._ends[end.link]
        self.peer.unlinked(end.link)
        self._settle()

    def propose(self, payload: bytes, entries: int) -> None:
        first = self.peer.next_zxid
        proposal = Proposal(first, first + entries - 1, payload)
        self._cluster.note(self.id, "proposes %s", name(proposal.last_zxid))
        self._cluster.chronicle.proposed(self, proposal)
        self.peer.propose(proposal)
        self._settle()

    def step_down(self) -> None:
        self._cluster.note(self.id, "is told to step down")
        self.peer.step_down()
        self._settle()

    def leave(self) -> None:
        self._cluster.note(self.id, "is told to hand over")
        self.peer.leave()
        self._settle()

    def follow(self, leader: int) -> None:
        """As if an election had ended so."""
        peer = self.peer
        if leader != self.id:
            peer.become(Following(peer, leader))
        elif peer.may_lead:
            peer.become(Leading(peer))
        self._settle()

    # -- what goes out --------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Carries out what the peer wants, as the shell does after each input."""
        self._update_links()
        self._begin_work()
        self.peer.payloads.clear()
        self._conclude()

    def _update_links(self) -> None:
        self._send()
        if self.peer.role is not self._role:
            self._change_role()

    def _conclude(self) -> None:
        fetches, self.peer.fetches = self.peer.fetches, []
        for fetch in fetches:
            self._later(self._random.expovariate(2.0), partial(self._fetch, fetch))
        self._cluster.chronicle.progress(self)
        self._connect()

    def _send(self) -> None:
        for to, message in self.peer.take_messages():
            self._cluster.chronicle.sent(self, to, message)
            if isinstance(message, Vote):
                assert not isinstance(to, Link)
                self._cluster.network.send_vote(self, self._cluster.members[to], message)
            elif isinstance(to, Link) and to in self._ends:
                self._cluster.network.send(self._ends[to], message)

    def _change_role(self) -> None:
        self._role = self.peer.role
        self._cluster.note(self.id, "is %s", describe_role(self._role))
        for end in self._ends.values():
            self._cluster.network.close(end)
        self._ends.clear()
        self._connect_pause = CONNECT_AGAIN

    def _begin_work(self) -> None:
        while len(self._under_way) < self.depth and (work := self.peer.take_work()) is not None:
            self._see(work)
            self._under_way.append(work)
            if len(self._under_way) == 1:
                self._begin_write()

    def _see(self, work: Work) -> None:
        if work.truncate is not None:
            self.view = [one for one in self.view if one.last_zxid <= work.truncate]
        if work.install is not None:
            self.view = self.disk.unpack(work.install)
            self.applied = max(self.applied, len(self.view))
            self._cluster.chronicle.installed(self)
        self.view += work.proposals

    def _begin_write(self) -> None:
        wait = max(0.0, self.stalled_until - self._cluster.now)
        self._later(wait + self.sync_time * self._random.expovariate(1.0), self._written)

    def _written(self) -> None:
        if self.disk_fails:
            self.disk_fails = False
            self._cluster.note(self.id, "has a failed fsync")
            self.crash(host_too=False)
            return
        work = self._under_way.popleft()
        self.disk.write(work)
        self._cluster.note(self.id, "has work %d on disk", work.ticket)
        if work.truncate is not None or work.install is not None or work.epochs is not None:
            self._cluster.chronicle.disk_changed()
        if self._under_way:
            self._begin_write()
        self.peer.persisted(work.ticket)
        self._settle()

    def _fetch(self, fetch: Fetch) -> None:
        snapshot, proposals = self.disk.read(fetch.after)
        self.peer.fetched(fetch, snapshot, proposals)
        self._settle()

    def _connect(self) -> None:
        if isinstance(self._role, Following) and self._role.link is None and not self._connecting:
            self._connecting = True
            pause, self._connect_pause = (
                self._connect_pause,
                min(2 * self._connect_pause, CONNECT_AGAIN_MAX),
            )
            self._later(pause * self._random.random(), self._open)

    def _open(self) -> None:
        if isinstance(self._role, Following) and self._role.link is None:
            self._cluster.network.connect(self, self._cluster.members[self._role.leader])
        else:
            self._connecting = False


def describe_role(role: Role) -> str:
    match role:
        case Leading():
            return "leading"
        case Following(leader=leader):
            return f"following {leader}"
        case _:
            return "looking"
