"""``python -m benchmarks.counted zoo.cfg``: ``coord serve zoo.cfg``, with every call that it makes counted.

Owns the counting: what the interpreter's profiling hook tells (calls of Python functions, and of those in C
by their names), and what the operating system has counted (bytes written to files, and sent to other
members). Who connects to the Unix socket ``zoo.cfg.counts`` is sent all that was counted so far, as JSON,
once. Knows nothing of coord but its command line and its configuration's clientPort.

Rules that hold here:

- Counts are never reset: whoever reads them twice has the work in between.
- Counting costs time, so times mean nothing here, and the work must not depend on them.
- Each thread counts for itself: two that count in one table lose counts. The thread that answers is not
  counted.
"""

from __future__ import annotations

import gc
import json
import re
import runpy
import socket
import sys
import threading
from collections import Counter
from pathlib import Path
from struct import unpack_from
from types import FrameType
from typing import Any, Final

RECEIVES: Final = {f"socket.{name}" for name in ("recv", "recv_into", "recvmsg", "recvfrom", "recvmsg_into")}
SENDS: Final = {f"socket.{name}" for name in ("send", "sendall", "sendmsg", "sendto")}
KINDS: Final = {
    **dict.fromkeys(("epoll.poll", "kqueue.control", "poll.poll", "select"), "waits"),
    **dict.fromkeys(("epoll.register", "epoll.modify", "epoll.unregister"), "changes of interest"),
    **dict.fromkeys(("write", "writev", "pwrite", "pwritev", "BufferedWriter.write"), "file writes"),
    **dict.fromkeys(("fsync", "fdatasync"), "syncs"),
}
"""What C functions are counted as, beside as calls."""
TCP_INFO_BYTES_SENT: Final = 200
"""where Linux has it in struct tcp_info"""


class Thread:
    """What one thread has done."""

    def __init__(self, client_port: int) -> None:
        self.python: Counter[str] = Counter()
        self.c: Counter[str] = Counter()
        self.sockets: Counter[str] = Counter()
        self.members: set[socket.socket] = set()
        self._client_port = client_port
        self._peers: dict[socket.socket, str] = {}

    def note(self, frame: FrameType, event: str, argument: Any) -> None:
        """The hook."""
        if event == "call":
            self.python[frame.f_code.co_qualname] += 1
        elif event == "c_call":
            name = argument.__qualname__
            self.c[name] += 1
            if name in RECEIVES:
                self.sockets[f"receives from {self._peer(argument.__self__)}"] += 1
            elif name in SENDS:
                self.sockets[f"sends to {self._peer(argument.__self__)}"] += 1

    def _peer(self, sock: socket.socket) -> str:
        """Who is at the other end."""
        peer = self._peers.get(sock)
        if peer is None:
            peer = "threads"
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                peer = "clients" if sock.getsockname()[1] == self._client_port else "members"
            self._peers[sock] = peer
            if peer == "members":
                self.members.add(sock)
        return peer


def report(threads: list[Thread]) -> dict[str, Any]:
    """All that was counted so far, in the words of the table."""
    python, c, sockets = Counter[str](), Counter[str](), Counter[str]()
    members: set[socket.socket] = set()
    for thread in list(threads):
        python.update(thread.python.copy())
        c.update(thread.c.copy())
        sockets.update(thread.sockets.copy())
        members |= thread.members
    kinds = Counter(dict.fromkeys(KINDS.values(), 0))
    for name, kind in KINDS.items():
        kinds[kind] += c[name]
    gc.collect()
    return {
        "work": {
            **kinds,
            **sockets,
            "Python calls": python.total(),
            "C calls": c.total(),
            "file bytes": _file_bytes(),
            "bytes to members": sum(map(_bytes_sent, members)),
            "objects kept": sys.getallocatedblocks(),
        },
        "names": {**python, **c},
    }


def _file_bytes() -> int:
    """Passed to write and its relatives by this process; 0 where the system does not tell."""
    try:
        found = re.search(r"^wchar: (\d+)$", Path("/proc/self/io").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0


def _bytes_sent(sock: socket.socket) -> int:
    """What TCP sent for it; 0 where the system does not tell, and of one that is closed."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        return int(unpack_from("=Q", info, TCP_INFO_BYTES_SENT)[0])
    except (OSError, AttributeError, ValueError):
        return 0


def _answer(listener: socket.socket, threads: list[Thread]) -> None:
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(json.dumps(report(threads)).encode())


def main(config: str) -> None:
    """Serves until it is ended as `coord serve` is; leaves by `SystemExit`."""
    found = re.search(r"^clientPort=(\d+)$", Path(config).read_text(), re.MULTILINE)
    assert found, "a zoo.cfg without clientPort"
    threads: list[Thread] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{config}.counts")
    listener.listen()
    threading.Thread(target=_answer, args=(listener, threads), daemon=True).start()

    def begin(frame: FrameType, event: str, argument: Any) -> None:
        """The first event of a thread: from now on it counts for itself."""
        threads.append(Thread(int(found[1])))
        sys.setprofile(threads[-1].note)

    sys.argv = ["coord", "serve", config, "--log-level", "WARNING"]
    threading.setprofile(begin)
    sys.setprofile(begin)
    runpy.run_module("coord", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1])
