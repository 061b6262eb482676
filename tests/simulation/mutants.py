"""Members broken on purpose, in one place after another: does the simulator see it, after how many seeds?

Each mutant is one replacement in a copy of the sources, see ``mutants.txt``. Those of agreement are shown to
bare peers, those of the server to whole members with clients; what no seed shows is put to `CASES`, some of
which are rarer than chance. `WATERPROOF` are those that change nothing that could be seen, with the reason;
they are run, too, so that the reason stays true.

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
    """below coord/zab; with a slash, below coord; or a file below tests/simulation: what the shell owes"""
    old: str
    new: str

    @property
    def file(self) -> Path:
        if self.module.endswith(".py"):
            return Path("tests/simulation", self.module)
        return Path("coord", "" if "/" in self.module else "zab", self.module + ".py")

    @property
    def part(self) -> str:
        """Which half of the simulator is to see it."""
        return "members" if "/" in self.module else "peers"


CASES: Final = {
    "peers": ["tests/zab"],
    "members": [
        *("tests/state", "tests/client/test_session.py", "tests/server/test_leaderless.py"),
        *("tests/server/test_lobby.py", "tests/server/test_moved.py", "tests/server/test_replica.py"),
        *("tests/server/test_scenarios.py", "tests/server/test_syncs.py", "tests/server/test_tracker.py"),
    ],
}
"""What is asked of cases that are rarer than chance."""

WATERPROOF: Final[dict[str, str]] = {}


def mutants() -> list[Mutant]:
    """Those of ``mutants.txt``."""
    found = []
    for block in Path(__file__).with_suffix(".txt").read_text().split("\n\n"):
        heading, *lines = block.strip("\n").split("\n")
        if not lines or not lines[0].startswith("- "):
            continue  # prose
        name, _, module = heading.removesuffix("]").partition(" [")
        old = "\n".join(line[2:] for line in lines if line.startswith("- "))
        new = "\n".join(line[2:] for line in lines if line.startswith("+ "))
        found.append(Mutant(name, module, old, new))
    return found


def seeds_needed(mutant: Mutant, seeds: int) -> tuple[Mutant, int | None, str]:
    """After how many seeds it was seen, if ever, and how; how it was seen otherwise, or nothing."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for folder_name in ("coord", "tests"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / folder_name, copy / folder_name, ignore=ignored)
        file, text = mutated(mutant, copy)
        file.write_text(text)
        command = [sys.executable, "-m", "tests.simulation", "--processes", "1", "--part", mutant.part]
        command += ["--seeds", str(seeds)]
        run = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
        seen = re.search(r"seed (\d+) FAILED: (.*)", run.stdout)
        if seen is not None:
            return mutant, int(seen[1]) + 1, seen[2]
        assert run.returncode == 0, run.stderr
        return mutant, None, seen_by_tests(copy, CASES[mutant.part])


def seen_by_tests(copy: Path, cases: Sequence[str]) -> str:
    """The first case that fails; nothing if none does."""
    command = [sys.executable, "-m", "pytest", "-xq", "-p", "no:cacheprovider", "--import-mode=importlib"]
    run = subprocess.run([*command, *cases], cwd=copy, capture_output=True, text=True, check=False)
    failed = re.search(r"^FAILED \S+::(\w+)", run.stdout, re.MULTILINE)
    return f"no seed, but {failed[1]}" if failed else ""


def mutated(mutant: Mutant, root: Path) -> tuple[Path, str]:
    """The file that it changes, and what then stands there."""
    file = root / mutant.file
    text = file.read_text()
    assert text.count(mutant.old) == 1, f"{mutant.name}: {text.count(mutant.old)} places in {file.name}"
    return file, text.replace(mutant.old, mutant.new)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation.mutants", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--seeds", type=int, default=300, help="give up after so many (default 300)")
    parser.add_argument("--only", help="only mutants with this in their name")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args(argv)
    chosen = [mutant for mutant in mutants() if not arguments.only or arguments.only in mutant.name]
    wrong = 0
    with ThreadPoolExecutor(arguments.processes) as pool:
        for mutant, needed, how in pool.map(partial(seeds_needed, seeds=arguments.seeds), chosen):
            expected = (needed is None and not how) == (mutant.name in WATERPROOF)
            wrong += not expected
            reason = WATERPROOF.get(mutant.name, how) if needed is None else how
            seen = "-" if needed is None else needed
            print(
                f"{seen:>5} {'' if expected else '!!'}  {mutant.module:18} {mutant.name}: {reason}",
                flush=True,
            )
    print(f"{len(chosen)} mutants, {len(chosen) - wrong} as expected")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
