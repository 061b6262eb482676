"""The two epochs a member has promised, durable before anybody is told (ZOOKEEPER-335, -2307).

Owns the file `epochs`: one line of text, ``accepted=3 current=2 crc=1f2e3d4c``, with ``blank`` before the crc
if this disk was empty and no leader has admitted its member since (see `zab.peer.Epochs`). All is in one
file, so no crash can leave one newer than the other.

Synopsis::

    epochs = load(directory) or Epochs(0, 0)
    save(directory, epochs._replace(accepted=epochs.accepted + 1))
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from coord.storage.files import StorageDamaged, naming, replace_durably

_LINE = re.compile(rb"(accepted=(\d+) current=(\d+)( blank)?) crc=([0-9a-f]{8})\n")


class Epochs(NamedTuple):
    accepted: int
    """the newest epoch whose leader this member has promised to follow"""
    current: int
    """the newest epoch whose history this member has made its own"""
    blank: bool = False
    """has no vote: it may have lost what it once promised"""


def load(directory: Path) -> Epochs | None:
    """The epochs saved last; None if none ever were. Raises `StorageDamaged`, `StorageFailed`."""
    path = directory / "epochs"
    with naming(path):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
    line = _LINE.fullmatch(data)
    if line is None or int(line[5], 16) != crc32(line[1]):
        raise StorageDamaged(path, 0, "it does not hold two epochs and their crc")
    return Epochs(int(line[2]), int(line[3]), bool(line[4]))


def save(directory: Path, epochs: Epochs) -> None:
    """Durable when it returns; after a crash on the way, the former epochs stand. Raises `StorageFailed`."""
    if not 0 <= epochs.current <= epochs.accepted:
        raise ValueError(f"the current epoch is beyond the accepted one: {epochs}")
    text = f"accepted={epochs.accepted} current={epochs.current}{' blank' if epochs.blank else ''}".encode()
    replace_durably(directory / "epochs", [text, f" crc={crc32(text):08x}\n".encode()])
