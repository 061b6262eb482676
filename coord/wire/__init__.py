"""Bytes <-> records, and nothing else: no state, no policy, no input or output.

- `jute`      the encoding of ZooKeeper's client protocol: ints, longs, strings, buffers, vectors
- `frames`    length-prefixed frames out of a byte stream, each whole or not at all
- `records`   every request and reply of the client protocol, by opcode
- `members`   what members say to each other, as values; `member_codec` is their bytes, in CBOR
- `ensemble`  log records, in CBOR
"""
