"""Zab: agreement on one sequence of opaque entries, as plain synchronous code.

Knows members, epochs, zxids and quorums; knows nothing of znodes, sockets, files or clocks. The caller owns
those and drives a `Peer` with three calls:

1. feed it: `propose` (when it leads), `persisted` (what the disk reports), `tick`;
2. `take_work()`: one `Work` value with everything it wants done: epochs and proposals to make durable under
   one ticket, and the zxid up to which history is committed;
3. when all of a ticket's work is durable: `persisted(ticket)`.

The rules that make it safe, and where they live:

- **A promise leaves only when it is durable.** A role *promises* a message (an acknowledgement of an epoch or
  of a proposal) instead of sending it; the `Peer` holds it back, tied to the ticket of the work it speaks of,
  until `persisted`. The caller may write and send in any order: nothing it can do acknowledges too early.
- **A member's own acknowledgement is a message like any other**: the leader promises it to itself. So an
  ensemble of one runs the very same path as an ensemble of five: discovery of a new epoch, synchronisation,
  broadcast, a quorum of one.
- **An epoch is durable before it is used** (ZOOKEEPER-335): accepted before the epoch is acknowledged,
  current before the first proposal of it. Every start of a leader begins a new epoch, so no two
  leaderships ever give the same zxid to different requests.
- **Proposals are contiguous and committed in order**, checked by assertions where they enter and leave.
- **The counter of an epoch does not wrap** (ZOOKEEPER-1277): a leader that runs out of zxids says so by
  `room`, and begins a new epoch instead.

A zxid is ``epoch << 32 | counter``; the counter of an epoch's first proposal is 1.

- `peer`      the `Peer`: roles, promises, work
- `election`  `Looking`: who shall lead
- `leading`   `Leading`: discovery, synchronisation, broadcast
- `history`   what is logged, durable and committed
- `quorum`    which sets of members decide

Roles are objects: a change of role builds a new one, so no field of the old one survives.
"""
