"""The clock's input loop: a beat at a steady pace, and the scan for containers.

Expiry counts beats, not seconds: a server that was stopped or starved (SIGSTOP, a suspended machine, a wall
clock that jumps) has not heard its clients in that time, and must not hold that against them. So a late beat
is one beat, and the next one is due a whole interval later.
"""

from __future__ import annotations

import trio

from coord.server.shell import Shell


async def run_clock(shell: Shell) -> None:
    """Beats for ever."""
    replica = shell.replica
    beats_between_scans = max(1, replica.config.container_check_interval_ms // replica.beat_ms)
    beats = 0
    while True:
        await trio.sleep(replica.beat_ms / 1000)
        shell.begin_turn()
        replica.beat()
        beats += 1
        if beats % beats_between_scans == 0:
            replica.reap()
        shell.settle()


async def run_zab_clock(shell: Shell) -> None:
    """The peer's ticks, for ever; a late tick is one tick, as with beats."""
    replica = shell.replica
    seconds = replica.config.zab_tick_ms / 1000
    while True:
        await trio.sleep(seconds)
        replica.peer.tick()
        shell.settle()
