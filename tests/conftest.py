"""What holds for all tests, however they were started.

Owns the signals that the processes of the tests begin with.
"""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """A script's background job is started with these ignored, and would hand that on to its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
