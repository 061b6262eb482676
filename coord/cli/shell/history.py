"""What was typed, kept for the next shell: in a file that only its user can read, without secrets.

Owns the file: where it is, and its permissions. What a secret is, `lines` knows.

Rules that hold here: a line with credentials is never written; a file that cannot be written costs the
history and nothing else; it stays below some `KEPT_BYTES`.

Synopsis::

    history = remembered()  # $XDG_STATE_HOME/coord/shell_history, or below ~/.local/state
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from coord.cli.shell.lines import is_secret

KEPT_BYTES: Final = 1024 * 1024


class PrivateHistory(FileHistory):
    """prompt_toolkit's file, less what must not be in it."""

    def store_string(self, string: str) -> None:
        if not is_secret(string):
            try:
                super().store_string(string)
            except OSError:
                pass  # a full disk is no reason to lose the line that was typed


def history_file() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "coord" / "shell_history"


def remembered(file: Path | None = None) -> History:
    """The history in `file`; where there can be none, one that ends with the shell."""
    try:
        file = file or history_file()
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        file.chmod(0o600)
        _shorten(file)
    except (OSError, RuntimeError):  # RuntimeError: the user has no home
        return InMemoryHistory()
    return PrivateHistory(str(file))


def _shorten(file: Path) -> None:
    """Keeps the newer half of a file that has become too long; entries are separated by empty lines."""
    if file.stat().st_size > KEPT_BYTES:
        kept = file.read_bytes()[-KEPT_BYTES // 2 :].partition(b"\n\n")[2]
        newer = file.with_suffix(".new")
        newer.touch(mode=0o600)
        newer.write_bytes(b"\n" + kept)
        newer.replace(file)
