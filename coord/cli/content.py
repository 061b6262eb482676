"""What is given to a command: a word of its line, or the content of a file, or of standard input.

Owns the reading. Rule that holds here: nothing is read while a command line is parsed; what is to be read is
read once, and before there is a connection if whoever does the job awaits its `before`.

Synopsis::

    content = Content(file="-")
    await content.read()  # all of standard input
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

import trio

STANDARD_INPUT: Final = "-"
CONTENT_BYTES_MAX: Final = 64 * 1024 * 1024
"""More than a server takes, however it is configured."""


class InputUnreadable(ValueError):
    """The file cannot be read; the message says why."""


@dataclass
class Content:
    """`data`, or that of `file` (``-``: standard input)."""

    data: bytes | None = None
    file: str | None = None

    async def read(self) -> bytes | None:
        """Raises `InputUnreadable`."""
        if self.file is not None and self.data is None:
            self.data = await trio.to_thread.run_sync(read_file, self.file, abandon_on_cancel=True)
        return self.data


def open_file(name: str) -> int:
    """A file descriptor, of standard input for ``-``. Raises `InputUnreadable`."""
    try:
        return os.dup(0) if name == STANDARD_INPUT else os.open(name, os.O_RDONLY)
    except OSError as error:
        raise InputUnreadable(f"{name}: {error.strerror}") from None


def read_file(name: str) -> bytes:
    """All of it. Without Python's own buffer for standard input, which a thread that is left behind (Ctrl-C)
    would hold at the interpreter's end. Raises `InputUnreadable`."""
    content = bytearray()
    descriptor = open_file(name)
    try:
        while piece := os.read(descriptor, 65536):
            content += piece
            if len(content) > CONTENT_BYTES_MAX:
                raise InputUnreadable(f"{name}: more than any server takes ({CONTENT_BYTES_MAX} bytes)")
    except OSError as error:
        raise InputUnreadable(f"{name}: {error.strerror}") from None
    finally:
        os.close(descriptor)
    return bytes(content)
