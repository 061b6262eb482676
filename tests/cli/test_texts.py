"""The formats of the terminal, as zkCli writes them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.cli.texts import format_acl, format_list, format_perms, format_stat, parse_acl
from coord.wire.records import ACL, Id, Stat

STAT = """\
cZxid = 0x100000002
ctime = Thu Jan 01 00:00:01 UTC 1970
mZxid = 0x3
mtime = Sun Nov 22 14:19:34 UTC 2026
pZxid = 0x4
cversion = 5
dataVersion = 6
aclVersion = 7
ephemeralOwner = 0x{owner}
dataLength = 8
numChildren = 9"""


@pytest.mark.parametrize(
    ("owner", "printed"), [(0, "0"), (0x100001871150000, "100001871150000"), (-1, "f" * 16)]
)
def test_a_stat(monkeypatch: pytest.MonkeyPatch, owner: int, printed: str) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    stat = Stat(0x100000002, 3, 1000, 1795357174000, 6, 5, 7, owner, 8, 9, 4)
    assert format_stat(stat) == STAT.format(owner=printed)


@pytest.mark.parametrize(
    ("text", "acl"),
    [
        ("world:anyone:cdrwa", [ACL(31, Id("world", "anyone"))]),
        ("world:anyone:r", [ACL(1, Id("world", "anyone"))]),
        ("auth::cdrwa", [ACL(31, Id("auth", ""))]),
        ("digest:ann:a+b/c==:wr", [ACL(3, Id("digest", "ann:a+b/c=="))]),
        (
            "ip:fe80::1/64:r, ip:10.0.0.0/8:d",
            [ACL(1, Id("ip", "fe80::1/64")), ACL(8, Id("ip", "10.0.0.0/8"))],
        ),
    ],
)
def test_an_acl_is_read(text: str, acl: list[ACL]) -> None:
    assert parse_acl(text) == acl


@pytest.mark.parametrize(
    "text", ["", "world", "world:anyone", "world:anyone:", ":anyone:r", "a:b:x", "a:b:r,"]
)
def test_what_is_no_acl_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="scheme:id:perms"):
        parse_acl(text)


NAMES = st.text(st.characters(exclude_characters=",", exclude_categories=["Z", "C"]))


@given(st.lists(st.tuples(st.integers(1, 31), NAMES), min_size=1))
def test_an_acl_comes_back(entries: list[tuple[int, str]]) -> None:
    acl = [ACL(perms, Id("digest", name)) for perms, name in entries]
    assert parse_acl(",".join(f"digest:{one.id.id}:{format_perms(one.perms)}" for one in acl)) == acl


def test_printing() -> None:
    acl = [ACL(31, Id("world", "anyone")), ACL(1, Id("ip", "::1"))]
    assert format_acl(acl) == "'world,'anyone\n: cdrwa\n'ip,'::1\n: r"
    assert format_list([]) == "[]"
    assert format_list(["a", "b"]) == "[a, b]"
