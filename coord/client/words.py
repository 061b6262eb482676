"""Four-letter words, as whoever asks them: a connection of its own, a word, and everything that comes.

Owns nothing. What a word means is the server's business, what an answer means the caller's.

Synopsis::

    async with await open_stream(address) as stream:
        text = await ask(stream, "srvr")
"""

from __future__ import annotations

from typing import Final

import trio

ANSWER_BYTES_MAX: Final = 1 << 24
"""More is not read: what answers may be anything."""


async def ask(stream: trio.abc.Stream, word: str) -> str:
    """The answer; "" if the server closes without one. Raises `OSError`, or what a broken stream raises."""
    await stream.send_all(word.encode("ascii"))
    answer = b""
    while len(answer) < ANSWER_BYTES_MAX and (data := await stream.receive_some(65536)):
        answer += bytes(data)
    return answer.decode("utf-8", "replace")
