"""Agreement broken on purpose, in one place after another: does the simulator see it, and after how many seeds?

Each mutant is one replacement in a copy of the sources. `WATERPROOF` are those that change nothing that could
be seen, with the reason; they are run, too, so that the reason stays true.

Synopsis::

    python -m tests.simulation.mutants
    python -m tests.simulation.mutants --only "no Truncate" --seeds 1000

Exit status 1 if a mutant survives that should not, or is seen that should not.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]


class Mutant(NamedTuple):
    name: str
    module: str
    """below coord/zab, or a file below tests/simulation: what the shell owes agreement"""
    old: str
    new: str


MUTANTS: Final = [
    # -- promises
    Mutant("say AckEpoch at once", "following", "self._answer(AckEpoch(", "peer.say(self.link, AckEpoch("),
    Mutant(
        "say AckNewLeader at once", "following", "self._answer(AckNewLeader(", "peer.say(self.link, AckNewLeader("
    ),
    Mutant("say Ack at once", "following", "self._answer(Ack(", "peer.say(self.link, Ack("),
    Mutant(
        "the leader acknowledges to itself at once", "peer", "self.promise(_SELF, message)", "self.role.receive_own(message)"
    ),
    Mutant(
        "a promise waits for no work that is under way",
        "peer",
        "self._work.ticket if self._work else self._taken[-1][0] if self._taken else 0",
        "self._work.ticket if self._work else 0",
    ),
    Mutant(
        "any ticket releases all promises",
        "peer",
        "while self._promises and self._promises[0][0] <= ticket:",
        "while self._promises:",
    ),
    Mutant("the disk writes epochs before history", "disk.py", "        if work.install is not None:\n            parts.append(", "        if work.epochs is not None:\n            parts.append(partial(self._save, work.epochs))\n        if work.install is not None:\n            parts.append("),
    # -- epochs
    Mutant(
        "a follower does not store the epoch it accepts",
        "following",
        "peer.set_epochs(peer.epochs._replace(accepted=message.epoch))",
        "pass",
    ),
    Mutant(
        "a follower does not store the current epoch",
        "following",
        "peer.set_epochs(peer.epochs._replace(current=message.epoch))",
        "pass",
    ),
    Mutant(
        "a follower accepts an older epoch", "following", "if message.epoch < peer.epochs.accepted:", "if False:"
    ),
    Mutant(
        "an epoch accepted before counts again", "following", "counts = message.epoch > peer.epochs.accepted", "counts = True"
    ),
    Mutant("the leader counts such acknowledgements", "leading", "elif learner.votes and message.counts:", "elif learner.votes:"),
    Mutant(
        "a leader does not store the epoch it proposes",
        "leading",
        "peer.set_epochs(peer.epochs._replace(accepted=self.epoch))",
        "peer.set_epochs(peer.epochs)",
    ),
    Mutant(
        "a leader does not store the current epoch",
        "leading",
        "peer.set_epochs(peer.epochs._replace(current=self.epoch))",
        "peer.set_epochs(peer.epochs)",
    ),
    Mutant("the same epoch again", "leading", "*self._accepted.values()) + 1", "*self._accepted.values())"),
    Mutant(
        "an epoch newer than the leader's own only",
        "leading",
        "max(peer.epoch_heard, *self._accepted.values()) + 1",
        "peer.epochs.accepted + 1",
    ),
    Mutant(
        "an epoch without a quorum of greetings",
        "leading",
        "if not peer.quorum.reached(self._accepted):",
        "if False:",
    ),
    Mutant(
        "an epoch without a quorum of acknowledgements",
        "leading",
        "if self._epoch_agreed or not peer.quorum.reached(self._epoch_acks):",
        "if self._epoch_agreed:",
    ),
    Mutant("who accepted a newer epoch is told the older", "leading", "if message.accepted > self.epoch > 0:", "if False:"),
    # -- who has more
    Mutant(
        "a leader does not give way to a longer history",
        "leading",
        "if not self._epoch_agreed and theirs >",
        "if False and theirs >",
    ),
    Mutant(
        "histories are compared by zxid alone",
        "leading",
        "theirs > (peer.epochs.current, peer.history.logged)",
        "theirs[1] > peer.history.logged",
    ),
    Mutant(
        "histories are compared by epoch alone",
        "leading",
        "theirs > (peer.epochs.current, peer.history.logged)",
        "theirs[0] > peer.epochs.current",
    ),
    Mutant("vote with logged, not durable", "election", "peer.durable_epoch, peer.history.durable,", "peer.durable_epoch, peer.history.logged,"),
    Mutant("vote with an epoch not durable", "election", "peer.durable_epoch, peer.history.durable,", "peer.epochs.current, peer.history.durable,"),
    Mutant(
        "the smallest history wins", "election", "if vote.merit <= self._mine.merit or", "if vote.merit >= self._mine.merit or"
    ),
    Mutant("join a leader that no quorum follows", "election", "if peer.quorum.reached(company) or peer.quorum.reached([*company, peer.my_id]):", "if True:"),
    Mutant("never join a leader that works", "election", "            self._join_a_working_leader()\n", "            pass\n"),
    # -- synchronisation
    Mutant("no Truncate", "learner", "if common < self.ends[-1]:", "if False:"),
    Mutant("synchronise from the follower's last zxid", "learner", "common = peer.history.common(self.ends)", "common = min(self.ends[-1], peer.history.logged)"),
    Mutant("no proposals while a follower synchronises", "learner", "return self.phase in (Phase.SYNCHRONISED, Phase.ACTIVE)", "return self.phase is Phase.ACTIVE"),
    Mutant("a read from disk is the end of it", "learner", "if self.sent < peer.history.recent_after:", "if self.sent < peer.history.recent_after and self.phase is not Phase.FETCHING:"),
    Mutant("a follower keeps work that was truncated", "peer", "        work.proposals = [proposal for proposal in work.proposals if proposal.last_zxid <= zxid]\n", ""),
    Mutant("a truncation is forgotten", "peer", "work.truncate = zxid if work.truncate is None else min(zxid, work.truncate)", "pass"),
    Mutant("only the last of two truncations counts", "peer", "work.truncate = zxid if work.truncate is None else min(zxid, work.truncate)", "work.truncate = zxid"),
    Mutant("tickets ignore truncation", "peer", "deque((ticket, min(logged, zxid), epoch) for", "deque((ticket, logged, epoch) for"),
    Mutant("a snapshot keeps work that came before it", "peer", "        self._work.truncate, self._work.proposals = None, []\n", ""),
    Mutant("histories part where the other ends", "history", "min(end, mine[epoch_of(end)])", "end"),
    Mutant("history is known before its base", "history", "return shared if shared >= self.base else None", "return shared"),
    Mutant("truncation leaves the ends", "history", "        self._ends = [end for end in self._ends if epoch_of(end) < epoch_of(zxid)] + [zxid]\n", ""),
    Mutant("a snapshot leaves the ends", "history", "        self._ends = [zxid]\n", ""),
    Mutant("truncation leaves what is in memory", "history", "        while self._recent and self._recent[-1].first_zxid > zxid:\n            self._recent_bytes -= len(self._recent.pop().payload)\n        assert not self._recent or self._recent[-1].last_zxid <= zxid, \"only whole proposals are forgotten\"\n", ""),
    Mutant("truncation leaves where memory begins", "history", "        self.recent_after = min(self.recent_after, zxid)\n", ""),
    Mutant("truncation leaves what is durable", "history", "        self.durable = min(self.durable, zxid)\n        self.recent_after", "        self.recent_after"),
    # -- quorums and commits
    Mutant("half is a majority", "quorum", "2 * len(self.voters.intersection(members)) > len(self.voters)", "2 * len(self.voters.intersection(members)) >= len(self.voters)"),
    Mutant("half of the groups is a majority", "quorum", "return 2 * present > len(self._groups)", "return 2 * present >= len(self._groups)"),
    Mutant("half of a group is a majority", "quorum", "if member in members) > sum(group.values())", "if member in members) >= sum(group.values())"),
    Mutant("observers vote", "quorum", "2 * len(self.voters.intersection(members)) >", "2 * len(members) >"),
    Mutant("commit what anybody has", "leading", "agreed(peer.quorum, self._acknowledged)", "max(self._acknowledged.values())"),
    Mutant("commit what a quorum has heard of", "quorum", "if last >= zxid", "if last"),
    Mutant("established without a quorum", "leading", "if self.established or not peer.quorum.reached(self._leader_acks):", "if self.established:"),
    Mutant("a late follower is told what it acknowledged", "leading", "self._peer.say(learner.link, Commit(min(self._peer.committed, learner.sent)))\n\n    def _count_leader", "self._peer.say(learner.link, Commit(message.zxid))\n\n    def _count_leader"),
    Mutant("synchronisation acknowledges no proposal", "leading", "self._count_ack(learner.member, message.zxid)\n            self._count_leader", "self._acknowledged[learner.member] = message.zxid\n            self._count_leader"),
    Mutant("a quorum round counts strangers", "leading", "        if learner.phase is Phase.ACTIVE:\n            learner.ponged", "        if True:\n            learner.ponged"),
    Mutant("a quorum round needs nobody", "leading", "answered = [learner.member for learner in self.learners.values() if learner.ponged >= number]", "answered = [learner.member for learner in self.learners.values()]"),
    # -- leaving
    Mutant("a leader without a quorum stays", "leading", "return self._peer.quorum.reached([*present, self._peer.my_id])", "return True"),
    Mutant("a leader that nobody greets stays", "leading", "elif self._ticks >= (timing.join if self._epoch_agreed else 2 * timing.greet):", "elif False:"),
    Mutant("a follower stays with a silent leader", "following", "        if self._ticks_left <= 0:\n", "        if False:\n"),
]  # fmt: skip


WATERPROOF: Final = {}  # type: dict[str, str]


def seeds_needed(mutant: Mutant, seeds: int) -> tuple[Mutant, int | None, str]:
    """After how many seeds it was seen, if ever, and how."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        shutil.copytree(ROOT / "coord", copy / "coord", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(
            ROOT / "tests" / "simulation",
            copy / "tests" / "simulation",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        apply(mutant, copy)
        command = [sys.executable, "-m", "tests.simulation", "--processes", "1", "--seeds", str(seeds)]
        run = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    seen = re.search(r"seed (\d+) FAILED: (.*)", run.stdout)
    if seen is None:
        assert run.returncode == 0, run.stderr
        return mutant, None, "survives"
    return mutant, int(seen[1]) + 1, seen[2]


def apply(mutant: Mutant, root: Path) -> None:
    folder = root / "tests" / "simulation" if mutant.module.endswith(".py") else root / "coord" / "zab"
    file = folder / (mutant.module if mutant.module.endswith(".py") else mutant.module + ".py")
    text = file.read_text()
    assert text.count(mutant.old) == 1, f"{mutant.name}: {text.count(mutant.old)} places in {file.name}"
    file.write_text(text.replace(mutant.old, mutant.new))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation.mutants", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--seeds", type=int, default=300, help="give up after so many (default 300)")
    parser.add_argument("--only", help="only mutants with this in their name")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args(argv)
    chosen = [mutant for mutant in MUTANTS if not arguments.only or arguments.only in mutant.name]
    wrong = 0
    with ThreadPoolExecutor(arguments.processes) as pool:
        for mutant, needed, how in pool.map(partial(seeds_needed, seeds=arguments.seeds), chosen):
            expected = (needed is None) == (mutant.name in WATERPROOF)
            wrong += not expected
            reason = WATERPROOF.get(mutant.name, how) if needed is None else how
            seen = "-" if needed is None else needed
            print(f"{seen:>5} {'' if expected else '!!'}  {mutant.module:10} {mutant.name}: {reason}", flush=True)
    print(f"{len(chosen)} mutants, {len(chosen) - wrong} as expected")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
