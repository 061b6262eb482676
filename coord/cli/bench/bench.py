"""`coord bench`: znodes of its own, load on them, what was measured, and nothing left behind.

Owns the order of these, and what ends them early. What a load is, is `workload`'s and `engine`'s.

Rules that hold here:

- Everything is below one znode with a name that nobody else has, which is deleted at the end: also after
  Ctrl-C, after errors, and after a loss of the connection if it comes back soon. Where it could not be
  deleted, that is said. If there is such a znode already, nothing is done, and nothing deleted.
- What is going to be written is said before it is.
- What was measured is shown, however it ended; what went wrong is an error, and an exit code.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from time import perf_counter_ns, process_time_ns
from typing import Final

import trio

from coord import Client, ConnectionLost, CoordError, NodeExists, NoNode, SessionState
from coord.cli.bench.engine import Engine
from coord.cli.bench.meter import Meter, only_ascii
from coord.cli.bench.report import Measured, Summary
from coord.cli.bench.sessions import close_sessions, open_sessions
from coord.cli.bench.tally import CONNECTION_ERRORS, UNANSWERED, Tally
from coord.cli.bench.workload import Plan, Workload, workload_of, znodes
from coord.cli.jobs import Advance, Output
from coord.cli.results import Note
from coord.cli.subtrees import delete_all
from coord.cli.walk import Pipeline, portions
from coord.client.hosts import parse_connect_string

SLICE_SECONDS: Final = 0.05
"""So long the engine has the thread to itself: Ctrl-C and the other session's pings can wait for that."""
LAST_SECONDS: Final = 5.0
"""So long the deletion at the end waits for a connection."""


class RequestsFailed(CoordError):
    """Some of the load's requests were answered with errors."""


async def bench(
    zk: Client,
    out: Output,
    plan: Plan,
    *,
    auth: Sequence[tuple[str, str]] = (),
    patience: float = 10.0,
) -> None:
    """Loads the client's servers, and prints what each operation of the plan took.

    A server that says nothing for `patience` seconds while replies are waited for is given up. Raises
    `RequestsFailed`, `ConnectionLost`, and what creating znodes raises.
    """
    root = f"/coord-bench-{secrets.token_hex(4)}"
    out(plan.intent(zk.hosts, f"{zk.chroot}{root}"))
    left, ours = False, True
    try:
        await _prepare(zk, out, root, plan)
        await _load(zk, out, root, plan, auth, patience)
    except NodeExists as error:
        ours = error.path != root
        raise
    finally:
        left = ours and not await _clear(zk, out, root)
    if left:
        raise ConnectionLost("the znodes could not be deleted", path=root, operation="bench")


# -- znodes -------------------------------------------------------------------------------------------


async def _prepare(zk: Client, out: Output, root: str, plan: Plan) -> None:
    await zk.create(root)
    with out.progress("creating") as advance:
        async with Pipeline() as pipeline:
            for portion in portions(znodes(root, plan), size=lambda znode: len(znode[1])):
                await pipeline.do(partial(_create, zk, portion, advance))


async def _create(zk: Client, portion: Sequence[tuple[str, bytes]], advance: Advance) -> None:
    transaction = zk.transaction()
    for path, data in portion:
        transaction.create(path, data)
    await transaction.commit()
    advance(len(portion))


async def _clear(zk: Client, out: Output, root: str) -> bool:
    """Deletes everything; False, and a note, if that cannot be done."""
    done = False
    with trio.CancelScope(shield=True) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_want_a_connection, zk, scope)
            with suppress(CoordError):
                with suppress(NoNode):
                    await delete_all(zk, out, root)
                done = True
            nursery.cancel_scope.cancel(reason="it is done")
    if not done:
        out(Note(f"{zk.chroot}{root} may be left behind, to be deleted: coord deleteall {zk.chroot}{root}"))
    return done


async def _want_a_connection(zk: Client, scope: trio.CancelScope) -> None:
    """Ends a deletion that comes along no more because there is no server."""
    while True:
        await zk.session.state.wait_value(lambda state: state is not SessionState.CONNECTED)
        with trio.move_on_after(LAST_SECONDS):
            await zk.session.state.wait_value(lambda state: state is SessionState.CONNECTED)
            continue
        scope.cancel(reason="there is no server")


# -- load ---------------------------------------------------------------------------------------------


async def _load(
    zk: Client, out: Output, root: str, plan: Plan, auth: Sequence[tuple[str, str]], patience: float
) -> None:
    hosts, chroot = parse_connect_string(zk.hosts)
    measured: list[Measured] = []
    with Engine(plan.outstanding) as engine:
        with trio.move_on_after(patience) as limit:
            await open_sessions(engine, hosts, plan.clients, auth, f"{chroot}{root}")
        if limit.cancelled_caught:
            reached = f"{len(engine.connections)} of {plan.clients} clients"
            raise ConnectionLost(f"only {reached} were connected within {patience:g} s", operation="bench")
        for operation in plan.operations:
            if not engine.connections:
                break
            workload = workload_of(operation, plan, f"{chroot}{root}")
            window = Window(engine, operation, workload, plan, patience)
            try:
                await window.run()
            finally:
                if window.began:
                    measured.append(window.measured())
                    out(measured[-1])
            await out.room()
        close_sessions(engine)
        if len(measured) > 1:
            out(Summary(measured))
        _complain(engine, measured, plan)


def _complain(engine: Engine, measured: Sequence[Measured], plan: Plan) -> None:
    """Raises what has gone wrong."""
    if engine.lost:
        servers = ", ".join(f"{server}: {count}" for server, count in sorted(engine.lost.items()))
        lost = engine.lost.total()
        raise ConnectionLost(f"{lost} of {plan.clients} clients lost their connection ({servers})")
    errors: Counter[str] = Counter()
    for one in measured:
        errors.update(one.whole.errors)
    refused = [kind for kind in errors if kind not in CONNECTION_ERRORS]
    if refused:
        kinds = ", ".join(f"{errors[kind]:,} x {kind}" for kind in refused)
        raise RequestsFailed(f"requests failed: {kinds}")


class Window:
    """One operation, for as long as the plan says, after a warm-up that is not counted."""

    def __init__(
        self, engine: Engine, operation: str, workload: Workload, plan: Plan, patience: float
    ) -> None:
        self.began = 0
        self._engine = engine
        self._operation = operation
        self._workload = workload
        self._plan = plan
        self._patience = patience
        self._ascii_only = only_ascii()
        self._complete = False

    async def run(self) -> None:
        engine, plan = self._engine, self._plan
        if plan.warm_up:
            engine.start(self._workload, rate=plan.rate)
            await self._go(f"{self._operation} (warm-up)", plan.warm_up)
        self._began_cpu = process_time_ns()
        self.began = perf_counter_ns()
        engine.start(self._workload, limit=plan.requests, rate=plan.rate)
        await self._go(self._operation, plan.seconds)
        self._complete = bool(engine.connections)

    def measured(self) -> Measured:
        """Of what has come so far."""
        spent = perf_counter_ns() - self.began
        cpu = (process_time_ns() - self._began_cpu) / spent
        tally: Tally = self._engine.tally
        backlog = self._engine.backlog
        early = not self._complete
        return Measured(self._operation, tally, spent / 1e9, cpu, backlog, early, self._ascii_only)

    async def _go(self, label: str, seconds: float | None) -> None:
        """For so long, or up to the engine's limit; then until every reply has come."""
        engine, total = self._engine, self._plan.requests
        began = perf_counter_ns()
        with Meter(label, ascii_only=self._ascii_only) as meter:
            while not engine.idle:
                spent = (perf_counter_ns() - began) / 1e9
                if seconds is not None and spent >= seconds:
                    engine.stop()
                left = SLICE_SECONDS if seconds is None or spent >= seconds else seconds - spent
                engine.run(min(SLICE_SECONDS, left))
                if engine.in_flight and perf_counter_ns() - engine.quiet_since > self._patience * 1e9:
                    engine.give_up(UNANSWERED)
                done = engine.tally.done
                meter.show(done, spent / seconds if seconds is not None else done / (total or 1))
                await trio.lowlevel.checkpoint()
