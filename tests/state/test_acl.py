"""Who may do what: schemes, what a client's list must be, who matches."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from coord.errors import ErrorCode
from coord.state.acl import SUPER, AccessLists, digest_id
from coord.state.refused import Refused
from coord.wire.jute import pack_vector
from coord.wire.records import ACL, Id, Perms

ANYONE = Id("world", "anyone")
ANN = Id("digest", digest_id("ann", "pw"))
HERE = Id("ip", "127.0.0.1")


def test_digest_id_is_zookeepers() -> None:
    assert digest_id("super", "admin") == "super:xQJmxLMiHGwaqBvst5y6rkB6HQs="


@pytest.mark.parametrize(
    ("who", "caller", "matches"),
    [
        (ANYONE, (), True),
        (ANN, (), False),
        (ANN, (ANN,), True),
        (ANN, (HERE, ANN), True),
        (ANN, (Id("digest", digest_id("ann", "other")),), False),
        (ANN, (Id("x509", ANN.id),), False),
        (Id("ip", "127.0.0.1"), (HERE,), True),
        (Id("ip", "127.0.0.2"), (HERE,), False),
        (Id("ip", "127.0.0.99/8"), (HERE,), True),
        (Id("ip", "126.0.0.0/8"), (HERE,), False),
        (Id("ip", "0.0.0.0/0"), (HERE,), True),
        (Id("ip", "127.0.0.1"), (Id("ip", "::ffff:127.0.0.1"),), True),
        (Id("ip", "::1"), (Id("ip", "::1"),), True),
        (Id("ip", "2001:db8::/32"), (Id("ip", "2001:db8:1::7"),), True),
        (Id("ip", "2001:db8::/32"), (Id("ip", "2001:db9::7"),), False),
        (Id("ip", "::/0"), (HERE,), False),
        (Id("ip", "127.0.0.1"), (Id("ip", "no address"),), False),
        (Id("x509", "CN=a"), (Id("x509", "CN=a"),), True),
        (Id("digest", "nobody:x"), (SUPER,), True),
    ],
)
def test_matching(who: Id, caller: tuple[Id, ...], matches: bool) -> None:
    acl = AccessLists().fix([ACL(Perms.WRITE, who)], ())
    assert acl.allows(Perms.WRITE, caller) is matches
    assert acl.allows(Perms.READ | Perms.WRITE, caller) is matches
    assert acl.allows(Perms.READ, caller) is (SUPER in caller)


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [ACL(31, Id("world", "nobody"))],
        [ACL(31, Id("auth", ""))],  # nobody is authenticated here
        [ACL(31, ANYONE), ACL(31, Id("auth", ""))],
        [ACL(31, Id("digest", "nocolon"))],
        [ACL(31, Id("digest", "a:b:c"))],
        [ACL(31, Id("digest", "a:"))],
        [ACL(31, Id("digest", ":"))],
        [ACL(31, Id("ip", "300.0.0.1"))],
        [ACL(31, Id("ip", "127.0.0.1/33"))],
        [ACL(31, Id("ip", "127.0.0.1/-1"))],
        [ACL(31, Id("ip", "127.0.0.1/"))],
        [ACL(31, Id("ip", "127.0.0.0/255.0.0.0"))],
        [ACL(31, Id("ip", "::1/129"))],
        [ACL(31, Id("super", ""))],
        [ACL(31, Id("", ""))],
        [ACL(31, Id("sasl", "ann"))],
        [ACL(31, ANYONE), ACL(31, Id("unknown", "x"))],
    ],
)
def test_invalid_acl(entries: list[ACL]) -> None:
    lists = AccessLists()
    with pytest.raises(Refused) as refused:
        lists.fix(entries, (HERE,))
    assert refused.value.code == ErrorCode.INVALID_ACL
    with pytest.raises(Refused):
        lists.from_wire(pack_vector(entry.encode() for entry in entries), (HERE,))


def test_auth_becomes_the_caller_but_neither_his_address_nor_super() -> None:
    bob = Id("digest", digest_id("bob", "pw"))
    fixed = AccessLists().fix([ACL(3, Id("auth", "whatever"))], (HERE, ANN, SUPER, bob))
    assert fixed.entries == (ACL(3, ANN), ACL(3, bob))


def test_duplicates_collapse_and_order_stays() -> None:
    a, b = ACL(1, ANYONE), ACL(2, ANYONE)
    assert AccessLists().fix([b, a, b, a], ()).entries == (b, a)


def test_equal_lists_are_one_object_and_unused_ones_are_gone() -> None:
    lists = AccessLists()
    one, two = lists.fix([ACL(1, ANN)], ()), lists.intern((ACL(1, ANN),))
    assert one is two
    del one, two
    gc.collect()
    assert len(lists._shared) == 0


def test_an_encoded_list_with_auth_is_read_for_each_caller_anew() -> None:
    lists = AccessLists()
    raw = pack_vector([ACL(31, Id("auth", "")).encode()])
    bob = Id("digest", digest_id("bob", "pw"))
    assert lists.from_wire(raw, (ANN,)).entries == (ACL(31, ANN),)
    assert lists.from_wire(raw, (bob,)).entries == (ACL(31, bob),)
    plain = pack_vector([ACL(31, ANYONE).encode()])
    assert lists.from_wire(plain, ()) is lists.from_wire(plain, (ANN,))


def test_many_different_encoded_lists_take_bounded_memory() -> None:
    lists = AccessLists()
    for number in range(3000):
        lists.from_wire(pack_vector([ACL(1, Id("digest", f"user{number}:x")).encode()]), ())
    assert len(lists._raw) <= 1024


def test_redaction_hides_hashes_only() -> None:
    acl = AccessLists().intern((ACL(1, ANN), ACL(2, HERE)))
    assert acl.redacted() == [ACL(1, Id("digest", "ann:x")), ACL(2, HERE)]


def test_what_clients_make_up_is_not_remembered_beyond_a_size() -> None:
    """A few thousand lists or addresses of 1 MB each, remembered to save time, would be all the memory."""
    lists = AccessLists()
    gc.collect()
    tracemalloc.start()
    for number in range(20):
        long_name = f"{number}{'x' * 100_000}"
        lists.from_wire(pack_vector([ACL(1, Id("digest", f"{long_name}:hash")).encode()]), ())
        with pytest.raises(Refused):
            lists.from_wire(pack_vector([ACL(1, Id("ip", long_name)).encode()]), ())
    gc.collect()
    remembered, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert remembered < 200_000
