"""How the state says no: one exception that carries an error code and nothing else.

It is raised inside `Machine.apply` (which turns it into the error of the reply) and by the reads, whose
caller does the same. It is not one of `coord.errors`: those are for users and carry texts; a refusal happens
on the hot path, may be tried a thousand times a second by a client that waits for a znode, and stays cheap.
"""

from __future__ import annotations

from coord.errors import ErrorCode


class Refused(Exception):
    """The request is answered with `code` and has changed nothing."""

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code)
        self.code = code
