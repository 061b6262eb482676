"""The peers' input loop: the members' network, on two ports of each member.

Owns every connection between members. On the election port (ZooKeeper's leaderPort) each member keeps one
connection of its own to every other member, for its votes (`vote_line`), and reads those that others keep to
it. On the peer port a follower opens one link to its leader (`peer_link`). Every connection begins with a
handshake; a stranger gets no further. What is said is the peer's business, and when its links begin and end:
`update`, a part of `settle`, finds out what has changed.

Rules that hold here:

- a link that the peer's role does not know (any more) is cut: links do not outlive the role;
- as long as a role follows without a link, another attempt to open one is under way;
- the peer hears at once that a connection has closed: the death of a process needs no time-out;
- names are resolved anew for each attempt.

Synopsis::

    network = PeerNetwork(shell, peer, config, surroundings.member_stream)
    await nursery.start(network.run)
    network.update()  # at the end of each turn
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from ipaddress import ip_address

import trio

from coord.config import Config
from coord.errors import ProtocolError
from coord.limits import (
    GREETING_BYTES_MAX,
    MEMBER_CONNECT_SECONDS,
    MEMBER_SILENCE_SECONDS,
    RECEIVE_BYTES_MAX,
    STRANGERS_MAX,
)
from coord.logs import fields
from coord.server.handshake import Identity, Purpose, Stranger, introduce, meet
from coord.server.peer_link import PeerLink, SocketLink, StreamLink
from coord.server.shell import Turns
from coord.server.sockets import Sockets
from coord.server.vote_line import Pauses, VoteLine
from coord.wire.member_codec import VOTES, Message, MessageReader
from coord.wire.members import Standing, Vote
from coord.zab.following import Following
from coord.zab.leading import Leading
from coord.zab.links import Link
from coord.zab.peer import Peer, Role

log = logging.getLogger("coord.peers")

STRANGER_NOTE_SECONDS = 1.0


class PeerNetwork:
    def __init__(
        self,
        shell: Turns,
        peer: Peer,
        config: Config,
        wrap: Callable[[int, trio.SocketStream], trio.abc.Stream],
        sockets: Sockets | None = None,
    ) -> None:
        """`wrap` is given each stream to another member (see `surroundings.member_stream`). Links that it
        leaves alone are moved to `sockets`, if there are any."""
        self._shell = shell
        self._sockets = sockets
        self._wrap = wrap
        self._peer = peer
        self._config = config
        self._me = Identity(config.my_id, config.member_secret)
        self._others = frozenset(config.members) - {config.my_id}
        self._nursery: trio.Nursery | None = None
        self._role: Role | None = None
        self._seeking = trio.CancelScope()
        self._numbers = 0
        self._links: dict[Link, PeerLink] = {}
        self.parted: dict[int, str] = {}
        """why the last link with a member ended, by its id"""
        self._hearing: dict[int, trio.CancelScope] = {}
        self._lines = {
            other: VoteLine(partial(self._reach, other, Purpose.ELECTION), self._still_fits)
            for other in self._others
        }
        self._strangers: dict[Purpose, dict[trio.CancelScope, None]] = {purpose: {} for purpose in Purpose}
        self._troubles: dict[tuple[int, Purpose], str] = {}
        self._noted_stranger = -STRANGER_NOTE_SECONDS

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listens and connects, for ever. Raises `OSError` if a port cannot be listened on."""
        self._warn_of_open_network()
        self._warn_of_even_number()
        own = self._config.members[self._config.my_id]
        async with AsyncExitStack() as stack:
            # On the address that the others know this member by, as ZooKeeper does.
            host = None if self._config.quorum_listen_on_all_ips else own.host
            votes = await _listen(stack, host, own.election_port)
            links = await _listen(stack, host, own.peer_port)
            nursery = await stack.enter_async_context(trio.open_nursery())
            self._nursery = nursery
            for line in self._lines.values():
                nursery.start_soon(line.run)
            hear = partial(self._admit, Purpose.ELECTION, self._hear)
            nursery.start_soon(trio.serve_listeners, hear, votes)
            follow = partial(self._admit, Purpose.PEER, partial(self._carry, to_leader=False))
            nursery.start_soon(trio.serve_listeners, follow, links)
            self.update()
            task_status.started()

    # -- a part of each turn --------------------------------------------------------------------------

    def update(self) -> None:
        """Carries out what the peer has made due: messages leave, links are cut, a leader is sought."""
        if self._nursery is None:
            return
        role = self._peer.role
        for link, connection in self._links.items():
            if not _knows(role, link):
                connection.cut("")
        speaking = dict[PeerLink, None]()
        for to, message in self._peer.take_messages():
            if isinstance(message, Vote):
                assert isinstance(to, int)
                self._lines[to].post(message)
            elif isinstance(to, Link) and to in self._links:
                self._links[to].send(message)
                speaking[self._links[to]] = None
        for connection in speaking:
            connection.flush()
        if role is not self._role:
            self._role = role
            self._seeking.cancel()
            if isinstance(role, Following):
                self._seeking = trio.CancelScope()
                self._nursery.start_soon(self._seek, role.leader, self._seeking)

    def _still_fits(self, vote: Vote) -> bool:
        """Would this member say so now? What it said in an election is misleading when that is over."""
        return (vote.standing is Standing.LOOKING) == (self._peer.leader is None)

    # -- connections from here ------------------------------------------------------------------------

    async def _seek(self, leader: int, scope: trio.CancelScope) -> None:
        """Keeps a link to the leader for as long as the role lasts."""
        pauses = Pauses(0.01, 0.2)
        with scope:
            while True:
                stream = await self._reach(leader, Purpose.PEER)
                if stream is not None:
                    try:
                        await self._carry(stream, leader, to_leader=True)
                    finally:
                        await trio.aclose_forcefully(stream)
                await pauses.pause()

    async def _reach(self, other: int, purpose: Purpose) -> trio.abc.Stream | None:
        """A connection to another member that has shown who it is; None if there is none to be had now."""
        member = self._config.members[other]
        port = member.election_port if purpose is Purpose.ELECTION else member.peer_port
        try:
            with trio.fail_after(MEMBER_CONNECT_SECONDS):
                stream = await trio.open_tcp_stream(member.host, port)
        except (OSError, trio.TooSlowError) as error:
            self._note_trouble(other, purpose, _reason_of(error))
            return None
        wrapped = self._wrap(other, stream)
        try:
            _tune(stream)
            await introduce(wrapped, self._me, purpose, other)
        except BaseException as error:
            await trio.aclose_forcefully(wrapped)
            if isinstance(error, (Stranger, OSError)):
                self._note_trouble(other, purpose, str(error), stranger=True)
                return None
            raise
        self._note_trouble(other, purpose, "")
        return wrapped

    # -- connections to here --------------------------------------------------------------------------

    async def _admit(
        self,
        purpose: Purpose,
        serve: Callable[[trio.SocketStream, int], Awaitable[None]],
        stream: trio.SocketStream,
    ) -> None:
        """A connection has come: `serve` it once it has shown which member it is from."""
        strangers = self._strangers[purpose]
        if len(strangers) >= STRANGERS_MAX:
            next(iter(strangers)).cancel()
        scope = trio.CancelScope()
        strangers[scope] = None
        member = None
        try:
            with scope:
                member = await meet(stream, self._me, purpose, self._others)
                _tune(stream)
        except (Stranger, OSError) as error:
            member = None
            self._note_stranger(stream, purpose, error)
        finally:
            del strangers[scope]
        try:
            if member is not None and not scope.cancel_called:
                await serve(stream, member)
        finally:
            await trio.aclose_forcefully(stream)

    async def _hear(self, stream: trio.SocketStream, member: int) -> None:
        """Another member's votes, until it closes, or begins anew."""
        if member in self._hearing:
            self._hearing[member].cancel()
        self._lines[member].pauses.hurry()  # it is there: so it can be reached
        reader = MessageReader(VOTES, GREETING_BYTES_MAX)
        with trio.CancelScope() as scope:
            self._hearing[member] = scope
            try:
                while data := await stream.receive_some(RECEIVE_BYTES_MAX):
                    self._take_votes(member, reader.receive(data))
            except trio.BrokenResourceError:
                pass
            except ProtocolError as error:
                log.warning("a member talks nonsense", extra=fields(member=member, reason=error))
        if self._hearing.get(member) is scope:
            del self._hearing[member]

    def _take_votes(self, member: int, votes: list[Message]) -> None:
        self._shell.begin_turn()
        for vote in votes:
            assert isinstance(vote, Vote)
            self._peer.hear(member, vote)
        self._shell.settle()

    # -- links, from both sides -----------------------------------------------------------------------

    async def _carry(self, stream: trio.abc.Stream, member: int, *, to_leader: bool) -> None:
        """A link, from its first word to its last."""
        self._numbers += 1
        link = Link(member, self._numbers)
        self._shell.begin_turn()
        if not self._peer.linked(link):
            return
        connection = self._links[link] = self._link_on(stream, link, to_leader)
        # Whoever has elected a leader tries until that one leads: its own log tells when it follows.
        level = logging.DEBUG if to_leader else logging.INFO
        log.log(level, "linked", extra=fields(member=member, to="leader" if to_leader else "follower"))
        try:
            self._shell.settle()
            await connection.run(partial(self._take_messages, link))
        finally:
            del self._links[link]
        self.parted[member] = connection.reason
        log.log(level, "link ended", extra=fields(member=member, reason=connection.reason or "closed"))
        self._shell.begin_turn()
        self._peer.unlinked(link)
        self._shell.settle()

    def _link_on(self, stream: trio.abc.Stream, link: Link, to_leader: bool) -> PeerLink:
        if self._sockets is None or not isinstance(stream, trio.SocketStream):
            return StreamLink(link, stream, self._shell, to_leader=to_leader)
        sock = socket.socket(fileno=stream.socket.detach())
        sock.setblocking(False)
        return SocketLink(link, sock, self._sockets, to_leader=to_leader)

    def _take_messages(self, link: Link, messages: list[Message]) -> None:
        for message in messages:
            assert not isinstance(message, Vote)
            self._peer.receive(link, message)

    # -- what the operator is told --------------------------------------------------------------------

    def _warn_of_open_network(self) -> None:
        outside = sorted({one.host for one in self._config.members.values() if not _is_loopback(one.host)})
        if self._config.quorum_listen_on_all_ips:
            outside = ["*"]
        if self._me.secret is None and outside:
            log.warning(
                "anybody who reaches the members' ports can pass for a member: "
                "give all of them a memberSecretFile",
                extra=fields(hosts=",".join(outside)),
            )

    def _warn_of_even_number(self) -> None:
        """(Groups and weights are for whoever knows what they survive.)"""
        voters = len(self._peer.quorum.voters)
        if voters % 2 == 0 and not self._config.groups:
            loss = voters // 2 - 1
            text = f"{voters} voters survive the loss of {loss or 'none'}, as {voters - 1} would"
            log.warning("an even number of voters", extra=fields(reason=text))

    def _note_trouble(self, other: int, purpose: Purpose, reason: str, *, stranger: bool = False) -> None:
        """Once for each change, since attempts go on for as long as a member is away."""
        if self._troubles.get((other, purpose), "") == reason:
            return
        self._troubles[other, purpose] = reason
        if reason:
            level = logging.WARNING if stranger else logging.INFO
            why = fields(member=other, port=purpose.value, reason=reason)
            log.log(level, "cannot reach a member", extra=why)
        else:
            log.info("reached a member again", extra=fields(member=other, port=purpose.value))

    def _note_stranger(self, stream: trio.SocketStream, purpose: Purpose, error: Exception) -> None:
        """Not each of them: whoever knocks at a port must not fill the disk with it."""
        now = trio.current_time()
        if now - self._noted_stranger < STRANGER_NOTE_SECONDS:
            return
        self._noted_stranger = now
        try:
            host = stream.socket.getpeername()[0]
        except OSError:
            host = "?"
        log.warning("turned away", extra=fields(host=host, port=purpose.value, reason=error))


def _knows(role: Role, link: Link) -> bool:
    if isinstance(role, Leading):
        return link in role.learners
    return isinstance(role, Following) and role.link == link


async def _listen(stack: AsyncExitStack, host: str | None, port: int) -> list[trio.SocketListener]:
    """`host` None: on every interface."""
    try:
        listeners = await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        where = f"{host or '*'}:{port}"
        raise OSError(error.errno, f"cannot listen for members on {where}: {error.strerror}") from None
    for listener in listeners:
        stack.push_async_callback(trio.aclose_forcefully, listener)
    return listeners


def _tune(stream: trio.SocketStream) -> None:
    """Small messages leave at once; a machine that has gone without a word is noticed. May raise OSError."""
    socket = trio.socket
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, True)
    seconds = MEMBER_SILENCE_SECONDS
    for name, value in (  # as far as the system has them
        *(("TCP_KEEPIDLE", max(1, seconds // 2)), ("TCP_KEEPINTVL", 1)),
        *(("TCP_KEEPCNT", max(1, seconds // 2)), ("TCP_USER_TIMEOUT", seconds * 1000)),
    ):
        if hasattr(socket, name):
            stream.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _reason_of(error: Exception) -> str:
    if isinstance(error, trio.TooSlowError):
        return "no answer"
    causes = error.__cause__.exceptions if isinstance(error.__cause__, BaseExceptionGroup) else [error]
    return "; ".join(sorted({str(getattr(cause, "strerror", "") or cause) for cause in causes}))
