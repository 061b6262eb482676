"""What is remembered of reads is what would be answered now, whatever has happened meanwhile."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from coord.limits import ANSWER_BYTES_MAX, ANSWERS_BYTES_MAX, ANSWERS_MAX
from coord.state.answers import Answers
from coord.state.reads import READS, Refused
from coord.state.watches import Watches
from coord.wire.ensemble import Identities
from coord.wire.jute import Reader, pack_int
from coord.wire.records import Op, PathWatchRequest, SetACLRequest
from tests.state.applier import OPEN, Applier, Caller, only
from tests.state.test_machine_model import IDENTITIES, PATHS, MachineModel

LOOKS = [Op.EXISTS, Op.GET_DATA, Op.GET_CHILDREN, Op.GET_CHILDREN2]


def request_of(op: int, path: str, watch: bool = False) -> bytes:
    return pack_int(op) + PathWatchRequest(path, watch).encode()


class AnswersModel(MachineModel):
    """Every write, multis that fail, ends of sessions and restores in any order, with reads in between."""

    def __init__(self) -> None:
        self.asked: set[bytes] = set()
        super().__init__()

    @rule(op=st.sampled_from(LOOKS), path=PATHS, watch=st.booleans(), identities=IDENTITIES)
    def read(self, op: Op, path: str, watch: bool, identities: Identities) -> None:
        request = request_of(op, path, watch)
        self.asked.add(request)
        try:
            READS[op](self.machine, Watches(), Caller(identities=identities), request[4:])
        except Refused:
            assert self.machine.tree.answers.get(request) is None

    @invariant()
    def what_is_remembered_is_what_a_stranger_would_be_told(self) -> None:
        """Then all there is is asked for: so whatever the next step changes is remembered."""
        answers = self.machine.tree.answers
        remembered = [(request, answers.get(request)) for request in self.asked if answers.get(request)]
        assert len(remembered) == len(answers)
        for request, reply in remembered:
            fresh = READS[Reader(request).read_int()]
            assert fresh(self.machine, Watches(), Caller(), request[4:]) == reply
            assert request[-1] == 0, "a watch is left each time"
        for path in self.machine.tree.nodes:
            for op in LOOKS:
                self.read(op, path, False, ())


AnswersModel.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestAnswersModel = AnswersModel.TestCase


def test_what_anybody_may_read_is_remembered_and_nothing_else() -> None:
    log = Applier()
    log.create("/open")
    log.create("/closed", acl=only(30))
    answers = log.machine.tree.answers
    for op in LOOKS:
        reply = log.read(op, PathWatchRequest("/open", False))
        assert answers.get(request_of(op, "/open")) == reply
        log.read(op, PathWatchRequest("/open", True))
        log.read_err(op, PathWatchRequest("/closed", False))
        log.read_err(op, PathWatchRequest("/nowhere", False))
    assert len(answers) == len(LOOKS)
    log.ok(Op.SET_ACL, SetACLRequest("/open", only(30), -1))
    assert len(answers) == 0
    log.ok(Op.SET_ACL, SetACLRequest("/open", OPEN, -1))
    assert log.read(Op.EXISTS, PathWatchRequest("/open", False)) == answers.get(
        request_of(Op.EXISTS, "/open")
    )


def test_there_is_only_so_much_to_remember() -> None:
    answers = Answers()
    answers.remember("/large", b"r", bytes(ANSWER_BYTES_MAX))
    assert len(answers) == 0
    for number in range(ANSWERS_MAX):
        answers.remember("/a", pack_int(number), b"reply")
    assert len(answers) == ANSWERS_MAX
    answers.remember("/b", b"one more", b"reply")
    assert (len(answers), answers.get(b"one more")) == (1, b"reply")
    count = ANSWERS_BYTES_MAX // (ANSWER_BYTES_MAX - 100)
    for number in range(count):
        answers.remember("/b", pack_int(number), bytes(ANSWER_BYTES_MAX - 100))
    assert len(answers) < count


def test_what_is_forgotten_makes_room_again() -> None:
    answers = Answers()
    for number in range(10 * ANSWERS_BYTES_MAX // ANSWER_BYTES_MAX):
        answers.remember("/hot", b"r", bytes(ANSWER_BYTES_MAX - 1))
        answers.remember("/hot", b"r", bytes(ANSWER_BYTES_MAX - 1))
        answers.remember("/kept", b"k", b"reply")
        answers.forget("/hot")
        assert answers.get(b"r") is None, number
    assert answers.get(b"k") == b"reply"
