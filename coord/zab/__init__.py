"""Zab: agreement on one sequence of opaque entries, as plain synchronous code.

Knows members, epochs, zxids and quorums; knows nothing of znodes, sockets, files or clocks. The caller owns
those and drives a `Peer`: it feeds votes, link messages, ticks and what the disk reports, and takes `Work`
(what must become durable), messages to send, and the zxid up to which history is committed.

The phases, and who makes what durable before saying what:

1. *Election* (`election`): members name the one with the most complete durable history. It only proposes a
   leader; safety does not rest on it.
2. *Discovery* (`leading`, `following`): a quorum says which epochs it has accepted; the leader chooses a
   newer one. A follower makes it durable, then acknowledges it, with its history. If one that may lead has
   more than the leader, the leader gives up.
3. *Synchronisation* (`learner`): each follower forgets what the leader does not have, gets what it lacks,
   makes that durable, then the epoch current, then acknowledges (`AckNewLeader`). With a quorum of these,
   all of the leader's history is committed, and the leader is established.
4. *Broadcast*: proposals in order; durable, then acknowledged; committed when a quorum has acknowledged.

Who has what on disk before saying what:

==================  ======================================================================
`Vote`              the history and the epoch that it speaks of
`Hello`             nothing, but that its sender is blank no more: that it says from its disk
`AckEpoch`          the accepted epoch, and the history that it lists
`AckNewLeader`      all history up to its zxid; then the epoch, as the current one
`Ack`               everything up to its zxid
`NewEpoch`          nothing: the leader's own acknowledgement of the epoch waits for its disk
`Append`            nothing: likewise for the leader's own acknowledgement of the proposal
`Commit`            everything up to its zxid, at a quorum
==================  ======================================================================

The rules that make it safe, and where they live:

- **A promise leaves only when it is durable.** A role *promises* an acknowledgement; the `Peer` holds it
  back, tied to the work it speaks of, until `persisted`. The caller may write and send in any order:
  nothing it can do acknowledges too early (ZOOKEEPER-3911, -4646, -4643).
- **A member's own acknowledgement is a message like any other**: the leader promises it to itself. So an
  ensemble of one runs the very same path as an ensemble of five.
- **An epoch is durable before it is used** (ZOOKEEPER-335). Every start of a leader begins a new epoch, so
  no two leaderships ever give the same zxid to different requests.
- **A vote says what is on disk** (ZOOKEEPER-2845).
- **Proposals are contiguous and committed in order**; a follower that sees a gap synchronises anew.
- **The counter of an epoch does not wrap** (ZOOKEEPER-1277): a leader that runs out of zxids steps down.
- **Who may have forgotten does not count** (ZOOKEEPER-261): a voter with an empty disk is *blank*, on disk,
  until a leader admits it (`learner` says when, and why that is safe). Only when all voters are that empty do
  they found an ensemble (`election`). It takes a quorum of wiped disks at once to lose anything.

How this differs from the paper's text, which has three holes: proposals go to every follower that has been
sent the history, not only to those that have acknowledged it; a proposal that the history held already is
ignored; and a late joiner is told the latest commit, not that of its acknowledgement. From ZooKeeper's
code: acknowledging is tied to the disk by construction, a leader hands over before it goes (`HandOver`),
and `sync` asks a quorum (`Leading.ask_quorum`).

A zxid is ``epoch << 32 | counter``; the counter of an epoch's first proposal is 1. Roles are objects: a
change of role builds a new one, so no field of the old one survives.
"""
