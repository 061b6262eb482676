"""Both logs against a list: whatever is done to them, in any order, and however a crash tears the file."""

from __future__ import annotations

import shutil
import tempfile
from abc import abstractmethod
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from coord.storage.files import StorageDamaged, delete_files
from coord.storage.log import Log
from coord.storage.memory import MemoryLog
from coord.storage.segments import MARKER

Record = tuple[int, int, bytes]

# What a crash did to the bytes that were on their way: from where, how many (as shares of them), and how.
Tear = tuple[float, float, str]
TEARS = st.tuples(st.floats(0, 1), st.floats(0, 1), st.sampled_from(["cut", "zeros", "garbage", "none"]))


class LogModel(RuleBasedStateMachine):
    """`records` is what the log should hold; the first `durable` of them must survive a crash."""

    log: Log | MemoryLog

    def __init__(self) -> None:
        super().__init__()
        self.records: list[Record] = []
        self.durable = 0
        self.ends: list[int] = []
        """last zxids of closed segments"""
        self.begins = self.snapshot = 0
        self.start()

    @abstractmethod
    def start(self) -> None:
        """Begin with an empty log."""

    @abstractmethod
    def reopen_log(self) -> None:
        """Close the log in order, and open it again."""

    @abstractmethod
    def crash_log(self, tears: list[Tear]) -> None:
        """Lose, or tear, what was not durable, and open it again."""

    @property
    def last(self) -> int:
        return self.records[-1][1] if self.records else self.begins

    @rule(count=st.integers(1, 3), new_epoch=st.booleans(), payload=st.binary(min_size=1, max_size=40))
    def append(self, count: int, new_epoch: bool, payload: bytes) -> None:
        first = ((self.last >> 32) + 1 << 32) + 1 if new_epoch else self.last + 1
        self.log.append(first, first + count - 1, payload)
        self.records.append((first, first + count - 1, payload))

    @rule(skip=st.integers(1, 5))
    def append_with_a_gap(self, skip: int) -> None:
        with pytest.raises(ValueError, match="does not follow"):
            self.log.append(self.last + 1 + skip, self.last + 1 + skip, b"x")

    @rule()
    def sync(self) -> None:
        self.log.sync()
        self.durable = len(self.records)

    @rule()
    def roll(self) -> None:
        self.log.roll()
        self.durable = len(self.records)
        self._close_segment()

    def _close_segment(self) -> None:
        if self.records and self.last not in self.ends:
            self.ends.append(self.last)

    @precondition(lambda self: self.records)
    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        allowed = [zxid for zxid in (self.begins, *(r[1] for r in self.records)) if zxid >= self.snapshot]
        after = data.draw(st.sampled_from(allowed or [self.last]))
        shortened = after < self.last
        self.log.truncate(after)
        self.records = [record for record in self.records if record[1] <= after]
        if shortened:
            self.ends = [zxid for zxid in self.ends if zxid <= self.last]
            self.durable = len(self.records)
            self._close_segment()

    @precondition(lambda self: self.records)
    @rule(data=st.data())
    def truncate_inside_a_record(self, data: st.DataObject) -> None:
        first, last, _ = data.draw(st.sampled_from(self.records))
        if last > first:
            with pytest.raises(ValueError, match="inside a record"):
                self.log.truncate(first)
            self.durable = len(self.records)
            self._close_segment()

    @rule(data=st.data())
    def purge(self, data: st.DataObject) -> None:
        upto = data.draw(st.sampled_from([0, self.begins, *(r[1] for r in self.records[: self.durable])]))
        delete_files(self.log.purge(upto))
        self.snapshot = max(self.snapshot, upto)
        gone = [zxid for zxid in self.ends if zxid <= upto]
        if gone:
            kept = [record for record in self.records if record[1] > gone[-1]]
            self.durable -= len(self.records) - len(kept)
            self.records, self.begins = kept, gone[-1]
            self.ends = self.ends[len(gone) :]

    @rule(ahead=st.integers(0, 3))
    def clear(self, ahead: int) -> None:
        zxid = self.last + ahead
        self.log.clear(zxid)
        self.records, self.ends, self.durable = [], [], 0
        self.begins = self.snapshot = zxid

    @rule()
    def reopen(self) -> None:
        self.reopen_log()
        self.durable = len(self.records)
        self._close_segment()

    @rule(tears=st.lists(TEARS, max_size=3))
    def crash(self, tears: list[Tear]) -> None:
        self.crash_log(tears)
        held = list(self.log.records(self.begins))
        assert self.durable <= len(held)
        assert held == self.records[: len(held)]
        self.records, self.durable = held, len(held)
        self._close_segment()
        if not self.records:
            self.begins = self.log.last_zxid

    @invariant()
    def holds_what_is_durable(self) -> None:
        assert self.log.last_zxid == self.last
        durable = self.records[: self.durable]
        assert list(self.log.records(self.begins)) == durable
        for first, last, _ in durable:
            assert list(self.log.records(last)) == [record for record in durable if record[1] > last]
            assert list(self.log.records(first)) == [record for record in durable if record[1] > first]

    @invariant()
    def refuses_a_gap(self) -> None:
        if self.durable and self.begins:
            with pytest.raises(StorageDamaged):
                list(self.log.records(self.begins - 1))


class DiskLogModel(LogModel):
    log: Log

    def start(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="coord-log-"))
        self.log = Log.open(self.directory)

    def teardown(self) -> None:
        self.log.close()
        shutil.rmtree(self.directory)

    def reopen_log(self) -> None:
        self.log.close()
        self.log = Log.open(self.directory, after_zxid=self.snapshot)
        assert self.log.dropped is None

    def crash_log(self, tears: list[Tear]) -> None:
        """The process dies while a sync is under way: any part of its bytes may be on the disk, or none."""
        appender = self.log._appender
        if appender is not None:
            durable = appender.durable
            end = appender._end
            if tears:
                appender.sync()
            appender.release()
            for tear in tears:
                _damage(appender.path, durable, end, tear)
        self.log = Log.open(self.directory, after_zxid=self.snapshot)

    @invariant()
    def names_its_segments(self) -> None:
        assert [segment.last_zxid for segment in self.log.closed_segments()] == self.ends


def _damage(path: Path, durable: int, end: int, tear: Tear) -> None:
    begin, share, kind = tear
    start = durable + int(begin * (end - durable))
    stop = start + int(share * (end - start))
    data = bytearray(path.read_bytes())
    if kind == "cut":
        del data[start:]
    elif kind == "zeros":
        data[start:stop] = bytes(stop - start)
    elif kind == "garbage":
        data[start:stop] = (MARKER + b"!") * ((stop - start) // 5)
    path.write_bytes(data)


class MemoryLogModel(LogModel):
    log: MemoryLog

    def start(self) -> None:
        self.log = MemoryLog()

    def reopen_log(self) -> None:
        self.log.roll()

    def crash_log(self, tears: list[Tear]) -> None:
        self.log.crash()
        self.log.roll()


_SETTINGS = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestDiskLog = DiskLogModel.TestCase
TestDiskLog.settings = _SETTINGS
TestMemoryLog = MemoryLogModel.TestCase
TestMemoryLog.settings = _SETTINGS
