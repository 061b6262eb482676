"""Bytes on disk, synchronously; payloads are opaque. May import `wire`, `errors` and `limits` only.

- `files`      errors, durable replacement of a file, the lock on a data directory
- `journal`    what any log promises, and the order of zxids
- `segments`   the format of one log segment, and how to read it after a crash
- `appender`   the open end of the log, where records are written
- `log`        the log: a sequence of segments, appended to at the end
- `memory`     a log without a disk, for embedded servers and simulations
- `snapshots`  the whole state in one file, complete or absent
- `epochs`     the two epochs a member has promised
"""
