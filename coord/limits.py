"""Every bound of coord in one place, with the relations that must hold between them.

A bound that an operator may change is a key of zoo.cfg and has its default here; the others are fixed.
Sizes are bytes unless the name says otherwise; the names end in what they count.
"""

from __future__ import annotations

# -- the client protocol ------------------------------------------------------------------------------
FRAME_BYTES_MAX = 0xFFFFF
"""`jute.maxbuffer`: the largest frame a client may send (ZooKeeper's default, 1 MiB less one)."""

REPLY_FRAME_BYTES_MAX = 64 * 1024 * 1024
"""The largest frame our client accepts (a server does not limit its replies)."""

SET_WATCHES_CHUNK_BYTES = 128 * 1024
"""A client re-arms its watches in setWatches requests of at most this much path text (as Java's does)."""

# -- a client's connection ----------------------------------------------------------------------------
RECEIVE_BYTES_MAX = 256 * 1024
"""Received from one socket in one turn, so that no client starves the others."""

REQUESTS_PER_TURN = 1000
REPLY_BYTES_PER_TURN = 1024 * 1024
"""Served of one connection before others have their turn, whichever is reached first."""

PIPELINE_REQUESTS_MAX = 1000
"""Requests of one connection that wait for an answer; above it the socket is not read."""

PIPELINE_BYTES_MAX = 16 * 1024 * 1024
"""Their bytes, likewise; one request more may be on its way."""

MULTI_READ_REPLY_BYTES_MAX = 16 * 1024 * 1024
"""What a multiRead may answer: a request of 1 MB can name a znode of 1 MB fifty thousand times."""

OUTBOX_BYTES_MAX = 16 * 1024 * 1024
"""Unsent bytes of one connection above which its socket is not read until they have drained."""

OUTBOX_BYTES_FATAL = 64 * 1024 * 1024
"""Unsent bytes at which a reader is too slow to keep: its connection is closed."""

IDENTITIES_BYTES_MAX = 16 * 1024
"""What a connection has authenticated as; it travels with every batch that has a request of it."""

CLIENT_CONNECTIONS_PER_HOST_MAX = 60
"""`maxClientCnxns`: connections from one address, 0 for any number."""

FILES_RESERVED = 64
"""File descriptors that clients do not get: the log, snapshots and their processes cannot do without."""

HANDSHAKE_SECONDS = 30.0
"""A connection that has not opened a session by then is closed."""

CATCH_UP_SECONDS = 1.0
"""A client that has seen more than a member of an ensemble has applied waits there so long for it to come."""

LAST_REPLY_SECONDS = 5.0
"""A connection that is to be closed and does not take its last bytes by then is cut off."""

# -- what a member remembers of what it has answered --------------------------------------------------
ANSWERS_MAX = 10_000
ANSWERS_BYTES_MAX = 8 * 1024 * 1024
"""Replies to reads that are kept at hand, with their requests; beyond either all are forgotten."""

ANSWER_BYTES_MAX = 4096
"""A larger one is not kept: the work it saves is small beside sending it."""

# -- replication --------------------------------------------------------------------------------------
BATCH_REQUESTS_MAX = 2000
"""Requests in one proposal (and so in one log record)."""

BATCH_BYTES_MAX = 4 * 1024 * 1024
"""Request bytes in one proposal; one larger request still travels, alone."""

RECORD_BYTES_MAX = 64 * 1024 * 1024
"""The largest log record or peer message; a larger length on disk is damage."""

# -- the members' network -----------------------------------------------------------------------------
GREETING_BYTES_MAX = 512
"""A frame of a connection whose other end has not shown yet that it is a member."""

GREETING_SECONDS = 3.0
"""By then it must have; until then it is a stranger."""

STRANGERS_MAX = 64
"""Connections to each of a member's two ports that may be strangers; the oldest makes room for one more."""

MEMBER_CONNECT_SECONDS = 2.0
"""A connection to another member that is not there by then is tried anew."""

MEMBER_SILENCE_SECONDS = 5
"""The system gives up a connection to a member's machine that is silent for about so long."""

MEMBER_UNSENT_BYTES_MAX = 256 * 1024 * 1024
"""Unsent bytes of one link (those that synchronise a follower apart) at which its reader is too slow."""

MEMBER_SECRET_BYTES_MIN = 16

# -- sessions -----------------------------------------------------------------------------------------
TICK_TIME_MS = 2000
SESSION_TIMEOUT_TICKS_MIN = 2
SESSION_TIMEOUT_TICKS_MAX = 20
BEATS_PER_TICK = 10
"""The server's own clock beats this often in a `tickTime`; expiry and heartbeats count beats."""

# -- the ensemble -------------------------------------------------------------------------------------
HEARTBEATS_PER_TICK = 40 / 3
"""A leader is heard so often in a `tickTime` (every 150 ms), unless `heartbeatInterval` says otherwise."""

ZAB_TICKS_PER_HEARTBEAT = 3
"""The peer's clock ticks this often between two heartbeats; `zab.timing` counts them."""

SILENCE_ZAB_TICKS = 20
"""A member that was silent for so long is given up (one second by default); and whoever has not heard its
leader for so long answers no pings of its clients."""

READ_ONLY_AFTER_MS = 2000
"""Without a leader for so long (and for a `tickTime`), a member may serve read-only clients."""

REPORT_BEATS = 2
"""A follower tells its leader this often which sessions are alive."""

# -- storage ------------------------------------------------------------------------------------------
SNAPSHOT_ENTRIES = 100_000
"""`snapCount`: log entries after which the log is rolled and a snapshot made."""

SNAPSHOT_LOG_KB = 512 * 1024
"""`snapSizeLimitInKb`: the same for the log's size, since a start reads into memory what is in the log
beyond the snapshot. (ZooKeeper's default is eight times as much.)"""

SNAPSHOT_CHUNK_BYTES = 4 * 1024 * 1024
"""Data gathered in one chunk of a snapshot; the znode that goes beyond it is its last."""

SNAPSHOTS_RETAINED = 3
"""`autopurge.snapRetainCount`: verified snapshots kept, with the log segments the oldest of them needs."""

# -- znodes -------------------------------------------------------------------------------------------
SEQUENCE_MAX = 2_147_483_647
"""The last sequence number of a parent; the next sequential create is refused (see `state.machine`)."""

TTL_MS_MAX = (1 << 40) - 1
CONTAINER_CHECK_INTERVAL_MS = 60_000
CONTAINERS_PER_CHECK_MAX = 10_000

assert FRAME_BYTES_MAX < BATCH_BYTES_MAX < RECORD_BYTES_MAX
assert BATCH_BYTES_MAX + BATCH_REQUESTS_MAX * (IDENTITIES_BYTES_MAX + 1024) < RECORD_BYTES_MAX
assert OUTBOX_BYTES_MAX < OUTBOX_BYTES_FATAL
assert ANSWER_BYTES_MAX < ANSWERS_BYTES_MAX
assert RECEIVE_BYTES_MAX < OUTBOX_BYTES_MAX
assert OUTBOX_BYTES_MAX + MULTI_READ_REPLY_BYTES_MAX < OUTBOX_BYTES_FATAL
assert MULTI_READ_REPLY_BYTES_MAX < REPLY_FRAME_BYTES_MAX
assert 0 < SESSION_TIMEOUT_TICKS_MIN < SESSION_TIMEOUT_TICKS_MAX
assert BATCH_BYTES_MAX < SNAPSHOT_LOG_KB * 1024
assert BEATS_PER_TICK >= 2
assert SNAPSHOTS_RETAINED >= 1
assert RECORD_BYTES_MAX < MEMBER_UNSENT_BYTES_MAX
