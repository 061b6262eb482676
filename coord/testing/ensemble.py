"""An ensemble in one trio loop: three production servers in memory, and every fault between them.

Owns which member can hear which, and who leads. The members are an `EmbeddedServer` each; their network is
the loopback, and each connection between two of them goes through the gate of that pair. All of them live on
the loop's clock. For members that are processes, to be killed as such, see `processes`.

Synopsis::

    async with embedded_ensemble() as ensemble, coord.connect(ensemble.connect_string) as zk:
        old = await ensemble.kill_leader()
        leader = await ensemble.wait_leader()
        with ensemble.partition(leader):  # from the others; its clients still reach it
            await ensemble.wait_leader()  # another one
        await old.start()
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

import trio

from coord.config import Config
from coord.config.values import Member
from coord.testing.clock import advance
from coord.testing.embedded import EmbeddedServer, EmbeddedSurroundings, config_of, hosting
from coord.testing.faults import HOST, Gate, GatedStream, Partition, Port
from coord.testing.sessions import session_id_of

POLL_SECONDS = 0.005
TICK_SECONDS = 0.5


class MemberSurroundings(EmbeddedSurroundings):
    """Other members are reached through `gates`, by their ids."""

    def __init__(self, gates: Mapping[int, Gate]) -> None:
        super().__init__()
        self._gates = gates

    def member_stream(self, member: int, stream: trio.SocketStream) -> trio.abc.Stream:
        return GatedStream(stream, self._gates[member])


class EmbeddedMember(EmbeddedServer):
    """One member. Its own `partition` is between it and its clients; for one between members see the
    ensemble's."""

    @property
    def id(self) -> int:
        return self.config.my_id

    @property
    def leads(self) -> bool:
        """Does it take itself for the leader, and serve?"""
        return self.server is not None and self.server.replica.serving and self.server.replica.peer.leading

    @property
    def serves(self) -> bool:
        """Is it in touch with a leader, or is one?"""
        return self.server is not None and self.server.replica.serving


class EmbeddedEnsemble:
    """`members` by their ids, from 1 on; a client is given all their addresses."""

    def __init__(
        self, configs: Sequence[Config], ports: Sequence[Sequence[Port]], nursery: trio.Nursery
    ) -> None:
        ids = [config.my_id for config in configs]
        self._gates = {frozenset(pair): Gate() for pair in combinations(ids, 2)}
        self.members = tuple(
            EmbeddedMember(config, nursery, MemberSurroundings(self._gates_of(config.my_id)), own)
            for config, own in zip(configs, ports, strict=True)
        )

    def __repr__(self) -> str:
        return f"<EmbeddedEnsemble {self.connect_string}>"

    @property
    def connect_string(self) -> str:
        return ",".join(member.connect_string for member in self.members)

    def _gates_of(self, member: int) -> dict[int, Gate]:
        """By the other's id."""
        pairs = ((pair - {member}, gate) for pair, gate in self._gates.items() if member in pair)
        return {other: gate for others, gate in pairs for other in others}

    # -- who leads ------------------------------------------------------------------------------------

    @property
    def leader(self) -> EmbeddedMember | None:
        """The member that leads, and reaches a majority; None while there is none."""
        majority = len(self.members) // 2 + 1
        leading = (one for one in self.members if one.leads and len(self._side_of(one)) >= majority)
        return next(leading, None)

    async def wait_leader(self) -> EmbeddedMember:
        """The leader, as soon as there is one and whoever it reaches serves. Bound it with `trio.fail_after`:
        without a majority there is none."""
        while (leader := self.leader) is None or not all(one.serves for one in self._side_of(leader)):
            await trio.sleep(POLL_SECONDS)
        return leader

    def _side_of(self, member: EmbeddedMember) -> list[EmbeddedMember]:
        """Those that run and hear it, itself included."""
        gates = self._gates_of(member.id)
        return [one for one in self.members if one.running and (one is member or not gates[one.id].is_shut)]

    async def kill_leader(self) -> EmbeddedMember:
        """Kill whoever leads (waiting until somebody does); returns it, to be started again."""
        leader = await self.wait_leader()
        await leader.kill()
        return leader

    # -- sessions -------------------------------------------------------------------------------------

    def sessions(self) -> tuple[int, ...]:
        """The ids of the sessions there are. Raises `RuntimeError` while there is no leader."""
        if self.leader is None:
            raise RuntimeError("the ensemble has no leader now: wait_leader() first")
        return self.leader.sessions()

    async def expire_session(self, client: object) -> None:
        """As `EmbeddedServer.expire_session`; every member that serves knows of it on return."""
        leader = await self.wait_leader()
        session_id = session_id_of(client)
        await leader.expire_session(session_id)
        while any(one.serves and session_id in one.sessions() for one in self._side_of(leader)):
            await trio.sleep(POLL_SECONDS)

    def drop_connections(self) -> None:
        """Break every client's connection, to whichever member."""
        for member in self.members:
            if member.running:
                member.drop_connections()

    # -- the network, and time ------------------------------------------------------------------------

    def partition(self, *members: EmbeddedMember | int) -> Partition:
        """These (by id, or themselves) hear the others no more, nor the others them, until `heal`; among
        themselves they do. Clients still reach everybody. Also a ``with`` block."""
        apart = {one if isinstance(one, int) else one.id for one in members}
        strangers = apart - {one.id for one in self.members}
        if strangers or not apart:
            named = ", ".join(map(str, sorted(strangers))) or "nobody"
            raise ValueError(f"the ensemble has members 1 to {len(self.members)}, not {named}")
        for pair, gate in self._gates.items():
            if len(pair & apart) == 1:
                gate.shut()
        return Partition(self.heal)

    def heal(self) -> None:
        """End every partition between members."""
        for gate in self._gates.values():
            gate.open()

    async def advance(self, seconds: float) -> None:
        """Let virtual time pass. (An ensemble gives a silent session a sixth more than its timeout, and up to
        two ticks, since its members may hear of each other late.)"""
        await advance(seconds)


@asynccontextmanager
async def embedded_ensemble(
    size: int = 3, *, data_dir: Path | str | None = None, tick_time: float = TICK_SECONDS, **settings: Any
) -> AsyncIterator[EmbeddedEnsemble]:
    """An ensemble that has a leader, with all others in step, when the block begins; it is gone when it ends.

    `tick_time` and `settings` are as for `embedded_server`; in `data_dir` each member has a directory of its
    own, named by its id. A silent member is missed after half a tick. Raises what `embedded_server` raises,
    `ValueError` for a size below 2.
    """
    if size < 2:
        raise ValueError(f"an ensemble has at least two members, not {size}")
    ports = {my_id: (Port(), Port()) for my_id in range(1, size + 1)}
    for pair in ports.values():
        for port in pair:
            port.hold()
    members = {my_id: Member(HOST, one.number, other.number) for my_id, (one, other) in ports.items()}
    settings = {"tick_time": tick_time, "client_port": 0, "members": members, **settings}
    directories = {my_id: None if data_dir is None else Path(data_dir, str(my_id)) for my_id in members}
    configs = [config_of(my_id=my_id, data_dir=directories[my_id], **settings) for my_id in members]
    async with hosting() as nursery:
        ensemble = EmbeddedEnsemble(configs, list(ports.values()), nursery)
        try:
            for member in ensemble.members:
                await member.start()
            await ensemble.wait_leader()
            yield ensemble
        finally:
            with trio.CancelScope(shield=True):
                for member in ensemble.members:
                    await member.kill()
                    member.release()
                ensemble.heal()
