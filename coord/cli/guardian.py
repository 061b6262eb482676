"""Ends a command when its time is up, whatever has become of the `coord` that started it.

Owns the dead man's switch of `coord lock` and `coord elect`. `coord` tells it, again and again, until when
the command may run; if it stops telling (frozen, or stopped by Ctrl-Z) the command is ended in time, if it
dies at once. Must not know servers, locks, or why.

Rules that hold here:

- It is a program of its own. Run by its path with ``python -I -S``, it imports a handful of the standard
  library's modules: it is there in some 20 ms, and small.
- Ending begins with SIGTERM, is final once begun, and is over when nobody is left, or with SIGKILL. Who is
  to be killed is stopped before, so that nobody is born while it is looked who there is.
- It is started with the usual signals ignored: a service manager sends SIGTERM to everybody.
- Whom it ends: the command's process group and, where there is a ``/proc``, what descends from it in other
  groups, as the jobs of an interactive shell do.
- Moments are seconds of CLOCK_MONOTONIC, which all processes of a machine share.

Synopsis (its standard input)::

    guard 4711          the process group; written by the command itself, before it is what it is
    until 12.5 13.25    SIGTERM at 12.5, SIGKILL at 13.25; the newest counts, until ending has begun
    done                the command has ended
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from math import inf

DONE, ENDED = 0, 1
"""The exit codes: there was nothing to do; the command was ended."""

LOOK_SECONDS = 0.02
"""While a command is being ended: how often it is looked whether anybody is left."""
PASSES = 10
"""While killing: so many times for those that were born meanwhile."""

Process = tuple[int, str]
"""Its id, and when it started: an id may be used again."""


class Guardian:
    """What is guarded, and until when."""

    def __init__(self) -> None:
        self.group = 0
        self.term_at = self.kill_at = inf
        self.begun = False
        self._kin: set[Process] = set()

    def hear(self, line: str) -> bool:
        """One line of the input; is there nothing left to do?"""
        word, *values = line.split()
        if word == "guard":
            self.group = int(values[0])
        elif word == "until":
            term_at, kill_at = map(float, values)
            if self.begun:
                self.kill_at = min(self.kill_at, kill_at)
            else:
                self.term_at, self.kill_at = term_at, kill_at
        return word == "done" and not self.begun

    def act(self, now: float) -> bool:
        """What is due; is it over?"""
        if now >= self.kill_at:
            self.kill()
            return True
        if now >= self.term_at and not self.begun:
            self.begun = True
            self._strike(signal.SIGTERM)
            self._strike(signal.SIGCONT)  # who is stopped would not hear
        return self.begun and not self._anybody()

    def seconds(self, now: float) -> float | None:
        """How long to wait for the next line; None: for as long as it takes."""
        if self.begun:
            return max(0.0, min(self.kill_at - now, LOOK_SECONDS))
        moment = min(self.term_at, self.kill_at)
        return None if moment == inf else max(0.0, moment - now)

    def kill(self) -> None:
        """Nobody is left then, but for those whom we may not kill."""
        self._signal_group(signal.SIGSTOP)
        for _ in range(PASSES):
            known = len(self._kin)
            self._strike(signal.SIGSTOP)
            if len(self._kin) == known:
                break
        for _ in range(PASSES):
            self._strike(signal.SIGKILL)
            if not self._anybody():
                return

    def _strike(self, number: signal.Signals) -> None:
        if not self.group:
            return
        self._kin.update(kin(self.group))
        self._signal_group(number)
        for process in self._living():
            try:
                os.kill(process[0], number)
            except (ProcessLookupError, PermissionError):
                pass

    def _signal_group(self, number: signal.Signals) -> None:
        if not self.group:
            return
        try:
            os.killpg(self.group, number)
        except (ProcessLookupError, PermissionError):
            pass

    def _anybody(self) -> bool:
        if not self.group:
            return False
        self._kin.update(kin(self.group))
        return bool(self._living()) or (not _has_proc() and _is_there(self.group))

    def _living(self) -> list[Process]:
        return [process for process in self._kin if any(one[:2] == process for one in _look(process[0]))]


def kin(group: int) -> set[Process]:
    """The members of a process group and all their descendants; none where there is no ``/proc``."""
    every = [found for name in _names() for found in _look(int(name))]
    found = {(pid, started) for pid, started, _, pgrp in every if pgrp == group}
    while True:
        parents = {pid for pid, _ in found}
        more = {(pid, started) for pid, started, parent, _ in every if parent in parents} - found
        if not more:
            return found
        found |= more


def anybody(group: int) -> bool:
    """Is there anybody in a process group who has not ended?"""
    return _is_there(group) and (not _has_proc() or bool(kin(group)))


def _look(pid: int) -> Iterator[tuple[int, str, int, int]]:
    """Its id, its start, its parent and its group; nothing if it is no more."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name, in parentheses, may hold anything.
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return
    if fields and fields[0] not in (b"Z", b"X"):
        yield pid, fields[19].decode(), int(fields[1]), int(fields[2])


def _names() -> list[str]:
    return [name for name in os.listdir("/proc") if name.isdecimal()] if _has_proc() else []


def _has_proc() -> bool:
    """In a namespace of its own, a process may see the ``/proc`` of another, with other ids."""
    try:
        return os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


def _is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def main() -> int:
    """Guards what its standard input names; the result is the exit code."""
    guardian, unread = Guardian(), b""
    while not guardian.act(time.monotonic()):
        ready, _, _ = select.select([0], [], [], guardian.seconds(time.monotonic()))
        if not ready:
            continue
        data = os.read(0, 65536)
        if not data:
            guardian.kill()
            break
        *lines, unread = (unread + data).split(b"\n")
        if any(guardian.hear(line.decode()) for line in lines):
            return DONE
    return ENDED


if __name__ == "__main__":
    sys.exit(main())
