"""A cluster of brokers that loses some, and its controller, and goes on.

Kafka's protocol for brokers, controllers and partitions, on coord.

Owns the story and its stage: an ensemble of three servers, and brokers, all of them real processes that are
killed, stopped and woken. Each step is proven by the demo's own watches of the znodes, and by what the
servers say of themselves; each has a deadline, and the exit status is 0 only if every one was observed.

Synopsis::

    coord demo                               # or: python -m demos.broker_cluster
    coord demo --serve                       # keeps running, to be explored with kazoo or `coord`

Four brokers register as ephemeral znodes and elect a controller, which spreads a topic's partitions over
them. Then the leading server is killed, which no broker loses its session by; one broker is killed, another
hangs beyond its session and comes back, the controller hangs and, woken, finds its writes refused, the next
controller is killed; and in the end all are back, the server follows, and the brokers lead what they are
meant to lead.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import trio

import coord
from coord.testing import LocalEnsemble, local_ensemble
from demos._broker import BrokerProcess
from demos._picture import Picture
from demos._stage import INTERRUPTED, NotObserved, cancel_on_signal, open_actor
from demos._view import can_show_live, make_view

SERVERS: Final = 3
TICK_SECONDS: Final = 0.5
BROKERS: Final = 4
SESSION_SECONDS: Final = 2.0
HOLD_SECONDS: Final = 4.0
"""A session that is not kept alive is over by then, with the servers' own grace."""
PAUSE_SECONDS: Final = 0.6
STEP_SECONDS: Final = 15.0
"""The deadline of each step; most of it is the time a session lasts."""


@dataclass
class Step:
    """One thing to be proven; `seconds` is how long it took to be observed."""

    title: str
    observed: str = ""
    seconds: float | None = None
    failed: bool = False


class Cluster:
    """The broker processes: each in a process group of its own, none of which outlives the `async with`."""

    def __init__(self, server: str, size: int) -> None:
        self._server = server
        self._size = size
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the cluster)
        self.processes: dict[int, trio.Process] = {}
        self.stopped: set[int] = set()

    async def start(self, broker: int) -> None:
        options = {"--server": self._server, "--id": broker, "--size": self._size}
        words = [word for pair in options.items() for word in map(str, pair)]
        module = "demos.broker_cluster"
        self.processes[broker] = await open_actor(module, "broker", *words, stderr=self._errors)

    def errors(self) -> str:
        """What the brokers have complained of."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")

    async def kill(self, broker: int) -> None:
        process = self.processes.pop(broker)
        self.stopped.discard(broker)
        process.kill()
        await process.wait()

    def stop(self, broker: int) -> None:
        self.stopped.add(broker)
        self.processes[broker].send_signal(signal.SIGSTOP)

    def wake(self, broker: int) -> None:
        self.stopped.discard(broker)
        self.processes[broker].send_signal(signal.SIGCONT)

    async def __aenter__(self) -> Cluster:
        return self

    async def __aexit__(self, *_: object) -> None:
        with trio.CancelScope(shield=True):  # SIGKILL ends a stopped process, too, so this does not take long
            for broker in list(self.processes):
                await self.kill(broker)
        self._errors.close()


class Story:
    """The steps, in order. `steps` says how far it has come."""

    def __init__(
        self, ensemble: LocalEnsemble, cluster: Cluster, picture: Picture, size: int, pause: float = 0.0
    ) -> None:
        """`pause` is in seconds, after each step: for an audience that reads along."""
        self._servers = {server.id: server for server in ensemble.servers}
        self._cluster = cluster
        self._picture = picture
        self._all = frozenset(range(1, size + 1))
        self._pause = pause
        self.steps: list[Step] = []
        self._tell: list[tuple[str, Callable[[], Awaitable[str]]]] = [
            ("the brokers register, elect a controller, partitions get leaders", self._begin),
            ("the leading server is killed: no broker loses its session", self._kill_server),
            ("a broker is killed: its znode goes, others lead its partitions", self._kill_broker),
            ("a broker hangs: its session expires, others lead its partitions", self._hang_broker),
            ("it wakes: registers with a new epoch, leads its partitions again", self._wake_broker),
            ("the controller hangs: another takes over, in the next epoch", self._hang_controller),
            ("it wakes: its late write is refused by the server", self._wake_controller),
            ("the controller is killed: another takes over, in the next epoch", self._kill_controller),
            ("the killed server returns: it catches up, and follows", self._return_server),
            ("all brokers return: preferred leaders lead, all replicas in sync", self._return_all),
        ]
        self.steps = [Step(title) for title, _ in self._tell]

    @property
    def done(self) -> bool:
        return all(step.seconds is not None for step in self.steps)

    async def run(self) -> None:
        """Play all steps; stops at the first that is not observed in time."""
        for step, (_, play) in zip(self.steps, self._tell, strict=True):
            self._picture.note(f"* {step.title}")
            began = trio.current_time()
            try:
                step.observed = await play()
            except NotObserved as error:
                step.failed = True
                self._picture.note(str(error))
                return
            step.seconds = trio.current_time() - began
            self._picture.note(f"  observed: {step.observed}")
            await trio.sleep(self._pause)

    async def _until(self, condition: Callable[[Picture], bool]) -> None:
        try:
            await self._picture.until(condition, seconds=STEP_SECONDS)
        except trio.TooSlowError:
            raise NotObserved(f"not observed within {STEP_SECONDS:.0f} s") from None

    def _follower(self) -> int:
        """A live broker that is not the controller, and leads something."""
        picture = self._picture
        return max(i for i in picture.ids if i != picture.controller and picture.led_by(i))

    async def _begin(self) -> str:
        for broker in sorted(self._all):
            await self._cluster.start(broker)
        await self._until(lambda p: p.ids == self._all and p.controller in self._all and p.as_assigned())
        controller, epoch = self._reigning()
        led = len(self._picture.partitions)
        return f"brokers {_list(self._all)}; controller {controller} in epoch {epoch}; {led} partitions led"

    async def _kill_server(self) -> str:
        picture, leader = self._picture, self._picture.leading_server
        assert leader is not None
        self._killed_server = leader
        before, reign = picture.registrations, self._reigning()
        await self._servers[leader].kill()
        killed = picture.now
        await self._until(lambda p: p.settled_without(leader) or self._disturbed(before, reign))
        took = picture.now - killed
        await self._until(lambda p: p.now > killed + HOLD_SECONDS or self._disturbed(before, reign))
        now = picture.now
        await self._until(lambda p: p.writing_since(now) == self._all or self._disturbed(before, reign))
        if self._disturbed(before, reign):
            raise NotObserved("a broker, or the controller, has lost its place")
        pause = picture.longest_pause(killed)
        return (
            f"server {picture.leading_server} leads {took:.2f} s after server {leader} was killed; "
            "same broker epochs, same controller; "
            f"no broker's writes paused for over {pause:.2f} s"
        )

    def _disturbed(self, registrations: dict[int, int], reign: tuple[int, int]) -> bool:
        picture = self._picture
        return (
            picture.registrations != registrations or (picture.controller, picture.controller_epoch) != reign
        )

    async def _return_server(self) -> str:
        server, picture = self._killed_server, self._picture
        written = max(seen.zxid for seen in picture.servers.values())
        await self._servers[server].start()
        await self._until(
            lambda p: (
                p.settled_without(0)
                and p.servers[server].mode == "follower"
                and p.servers[server].zxid >= written
            )
        )
        return (
            f"server {server} follows server {picture.leading_server} and has applied "
            f"what was written without it, up to zxid {written:#x}"
        )

    async def _kill_broker(self) -> str:
        self._killed = self._follower()
        led = self._picture.led_by(self._killed)
        await self._cluster.kill(self._killed)
        return await self._gone(self._killed, len(led))

    async def _gone(self, broker: int, led: int) -> str:
        await self._until(lambda p: broker not in p.ids and p.all_led(p.ids))
        return f"broker {broker} is gone; what it led ({led} of the partitions) is led by others"

    async def _hang_broker(self) -> str:
        self._hung = self._follower()
        self._hung_epoch = self._picture.brokers[self._hung].epoch
        led = self._picture.led_by(self._hung)
        self._cluster.stop(self._hung)
        return await self._gone(self._hung, len(led))

    async def _wake_broker(self) -> str:
        broker, old = self._hung, self._hung_epoch
        self._cluster.wake(broker)
        await self._until(
            lambda p: (
                broker in p.ids
                and p.brokers[broker].epoch > old
                and p.all_led(p.ids)
                and bool(p.led_by(broker))
            )
        )
        new, led = self._picture.brokers[broker].epoch, len(self._picture.led_by(broker))
        return f"broker {broker} has epoch {new:#x} after {old:#x} and leads {led} of the partitions"

    async def _hang_controller(self) -> str:
        self._old, self._old_epoch = self._reigning()
        self._cluster.stop(self._old)
        return await self._succeeded(self._old, self._old_epoch)

    def _reigning(self) -> tuple[int, int]:
        assert self._picture.controller is not None
        return self._picture.controller, self._picture.controller_epoch

    async def _succeeded(self, old: int, old_epoch: int) -> str:
        await self._until(
            lambda p: (
                p.controller not in (None, old)
                and p.controller_epoch == old_epoch + 1
                and bool(p.decrees)
                and p.decrees[-1] == (p.controller, p.controller_epoch)
                and old not in p.ids
                and p.all_led(p.ids)
            )
        )
        controller, epoch = self._reigning()
        return f"controller {controller} in epoch {epoch} after {old} in epoch {old_epoch}"

    async def _wake_controller(self) -> str:
        old, decree, seen = self._old, self._picture.decrees[-1], len(self._picture.decrees)
        self._cluster.wake(old)
        await self._until(
            lambda p: old in p.refused and old in p.ids and p.all_led(p.ids) and bool(p.led_by(old))
        )
        if self._picture.decrees[seen - 1 :] != [decree]:
            raise NotObserved("the late write has happened")
        return (
            f"broker {old}'s write of epoch {self._old_epoch} was refused; {decree[0]}'s decree still stands"
        )

    async def _kill_controller(self) -> str:
        old, epoch = self._reigning()
        await self._cluster.kill(old)
        self._killed_controller = old
        return await self._succeeded(old, epoch)

    async def _return_all(self) -> str:
        for broker in (self._killed, self._killed_controller):
            await self._cluster.start(broker)
        await self._until(lambda p: p.ids == self._all and p.as_assigned())
        return f"brokers {_list(self._all)}; {len(self._picture.partitions)} partitions as they were assigned"


@dataclass(frozen=True)
class Options:
    serve: bool
    plain: bool
    port: int


async def play(options: Options) -> int:
    """The whole demo; returns the exit status."""
    async with (
        local_ensemble(SERVERS, tick_time=TICK_SECONDS, port=options.port) as ensemble,
        Cluster(ensemble.connect_string, BROKERS) as cluster,
        coord.connect(ensemble.connect_string, timeout=10) as zk,
    ):
        picture = Picture(zk, ensemble.servers)
        live = not options.plain and can_show_live()
        story = Story(ensemble, cluster, picture, BROKERS, PAUSE_SECONDS if live else 0.0)
        view = make_view(picture, story.steps, ensemble.connect_string, live=live)
        status = INTERRUPTED
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_on_signal, nursery.cancel_scope)
            nursery.start_soon(picture.follow)
            nursery.start_soon(view.run)
            await story.run()
            status = 0 if story.done else 1
            if options.serve and story.done:
                picture.note(f"serving at {ensemble.connect_string} until Ctrl-C")
                await trio.sleep_forever()
            nursery.cancel_scope.cancel()
        view.close()
        if status == 1:
            sys.stderr.write(cluster.errors())
        return status


def main(argv: Sequence[str] | None = None) -> int:
    """`coord demo`; returns the exit status: 0 if every step was observed."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["broker"]:
        return _run_broker(arguments[1:])
    parser = argparse.ArgumentParser(
        prog="coord demo",
        description="A cluster of brokers that loses some, and goes on.",
        epilog="There are more demos: coord demo --list",
    )
    parser.add_argument("--serve", action="store_true", help="keep running afterwards, to be explored")
    parser.add_argument("--plain", action="store_true", help="plain lines, as when the output is no terminal")
    parser.add_argument(
        "--port",
        type=int,
        default=0,
        help="the first server's port; the others' are the next (default: free ones)",
    )
    options = parser.parse_args(arguments)
    try:
        return trio.run(play, Options(options.serve, options.plain, options.port))
    except OSError as error:  # the port is taken
        print(f"coord demo: {error}", file=sys.stderr)
        return 1


def _run_broker(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="coord demo broker")
    parser.add_argument("--server", required=True)
    parser.add_argument("--id", type=int, required=True)
    parser.add_argument("--size", type=int, required=True)
    options = parser.parse_args(arguments)
    broker = BrokerProcess(options.server, options.id, options.size, SESSION_SECONDS)
    trio.run(broker.run)
    return 0


def _list(ids: frozenset[int]) -> str:
    return ", ".join(map(str, sorted(ids)))


if __name__ == "__main__":
    sys.exit(main())
