"""Until when a command may run that holds something: the arithmetic. Pure.

Owns the two moments at which a command is ended whose lock or leadership can no longer be guaranteed.

Let T be the session timeout, and s when the newest request was sent that a server acknowledged. No server
gives the lock to anybody else before s + T. The client's guarantee ends at ``valid_until`` = s + 5/6 T
(`coord.client.lease`), which leaves a sixth of T, and that is shared out:

========================  =======================  =====================================================
s + 5/6 T                 `valid_until`            SIGTERM (with the usual grace)
s + 11/12 T               a twelfth later          SIGKILL, whatever the grace
s + T                     a twelfth later still    the lock may be somebody else's
========================  =======================  =====================================================

The last twelfth is for clocks that run apart and for the kernel to do the killing. A command that needs a
longer grace gets SIGTERM earlier, never SIGKILL later; with the longest, a quarter of T, at s + 2/3 T. The
client gives a silent server up at s + T/2, so even then a sixth of T remains to find another one before the
command is disturbed.

Synopsis::

    moments(valid_until=100.0, timeout=12.0, grace=1.0)  # Moments(term_at=100.0, kill_at=101.0)
"""

from __future__ import annotations

from typing import Final, NamedTuple

KILL_AFTER: Final = 1 / 12
"""of the timeout, after `valid_until`"""
GRACE: Final = 1 / 12
"""of the timeout: between SIGTERM and SIGKILL, if nothing else is asked for"""
GRACE_MAX: Final = 1 / 4
"""of the timeout"""


class Moments(NamedTuple):
    term_at: float
    kill_at: float


def grace_of(timeout: float, asked: float | None) -> float:
    """Seconds between SIGTERM and SIGKILL. Raises ValueError for more than the session timeout leaves."""
    if asked is None:
        return timeout * GRACE
    if not asked <= timeout * GRACE_MAX:  # nor is it a NaN
        raise ValueError(
            f"a grace of {asked:g} s needs a session timeout of {asked / GRACE_MAX:g} s at least, "
            f"and the server grants {timeout:g} s"
        )
    return asked


def moments(valid_until: float, timeout: float, grace: float) -> Moments:
    """When to send SIGTERM and SIGKILL, on the clock of `valid_until`."""
    kill_at = valid_until + timeout * KILL_AFTER
    return Moments(kill_at - grace, kill_at)
