"""Connect strings, chroots, and the paths a client refuses to send."""

from __future__ import annotations

from random import Random

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from coord.client.hosts import PAUSE_SECONDS_MAX, Address, Addresses, Host, parse_connect_string
from coord.client.paths import Chroot, check_path, fault, join, parent_of
from coord.errors import BadArguments


@pytest.mark.parametrize(
    ("text", "hosts", "chroot"),
    [
        ("a:1", [("a", 1)], ""),
        ("a", [("a", 2181)], ""),
        ("a:1,b:2/app", [("a", 1), ("b", 2)], "/app"),
        (" a:1 , b/", [("a", 1), ("b", 2181)], ""),
        ("[::1]:5/x/y", [("::1", 5)], "/x/y"),
        ("[fe80::1%eth0]", [("fe80::1%eth0", 2181)], ""),
    ],
)
def test_connect_strings(text: str, hosts: list[tuple[str, int]], chroot: str) -> None:
    assert parse_connect_string(text) == ([Host(*host) for host in hosts], chroot)


@pytest.mark.parametrize(
    "text", ["", ",", "/app", "a:0", "a:65536", "a:b", "::1:2181", "a b:1", "[x", "a:1:2"]
)
def test_connect_strings_refused(text: str) -> None:
    with pytest.raises(BadArguments, match="connect string"):
        parse_connect_string(text)


@pytest.mark.parametrize(
    "path", ["/", "/a", "/a/b", "/a b", "/ä", "/.a", "/a..b", "/\u00a0", "/zookeeper/config"]
)
def test_paths(path: str) -> None:
    check_path(path, "get")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "a",
        "/a/",
        "//",
        "/a//b",
        "/.",
        "/a/..",
        "/a/./b",
        "/\x00",
        "/\x1f",
        "/\x7f",
        "/\ud800",
        "/\uf000",
        "/\uffff",
        "/\U0001f600",
    ],
)
def test_paths_refused(path: str) -> None:
    with pytest.raises(BadArguments) as caught:
        check_path(path, "get")
    assert (caught.value.path, caught.value.operation) == (path, "get")


@given(st.text(alphabet="/.a0\n\x7f\u00e4\ud800\uffff\U00010000", max_size=8))
def test_a_path_is_refused_if_and_only_if_something_is_wrong_with_it(path: str) -> None:
    try:
        check_path(path, "get")
    except BadArguments:
        assert fault(path)
    else:
        assert not fault(path)


def test_a_sequential_path_may_end_in_a_slash() -> None:
    check_path("/a/", "create", sequential=True)
    with pytest.raises(BadArguments):
        check_path("/a//", "create", sequential=True)


@pytest.mark.parametrize(
    ("chroot", "caller", "server"),
    [
        ("", "/", "/"),
        ("/", "/a", "/a"),
        ("/app", "/", "/app"),
        ("/app", "/a/b", "/app/a/b"),
        ("/x/y", "/z", "/x/y/z"),
    ],
)
def test_chroot_both_ways(chroot: str, caller: str, server: str) -> None:
    assert Chroot(chroot).inside(caller) == server
    assert Chroot(chroot).outside(server) == caller


def test_a_neighbour_of_the_chroot_is_not_below_it() -> None:
    assert Chroot("/app").outside("/apple") == "/apple"


def test_parents_and_children() -> None:
    assert [parent_of(p) for p in ("/", "/a", "/a/b")] == ["/", "/", "/a"]
    assert [join("/", "a"), join("/a", "b")] == ["/a", "/a/b"]


HOSTS = [Host(f"127.0.0.{i}", 2181) for i in range(1, 6)]


async def take(addresses: Addresses, count: int) -> list[Address]:
    return [await addresses.next() for _ in range(count)]


@pytest.mark.trio
async def test_every_host_has_its_turn_before_the_first_pause(autojump_clock: trio.testing.MockClock) -> None:
    addresses = Addresses(HOSTS, Random(1))
    began = trio.current_time()
    first = await take(addresses, 5)
    assert {a.host for a in first} == set(HOSTS)
    assert trio.current_time() == began
    second = await take(addresses, 5)
    assert second == first
    assert 0 < trio.current_time() - began <= 0.05


@pytest.mark.trio
async def test_pauses_grow_to_a_bound_and_differ(autojump_clock: trio.testing.MockClock) -> None:
    pauses = []
    for seed in range(2):
        addresses = Addresses(HOSTS[:1], Random(seed))
        await addresses.next()
        began = trio.current_time()
        for _ in range(30):
            await addresses.next()
            pauses.append(trio.current_time() - began)
            began = trio.current_time()
    assert max(pauses) <= PAUSE_SECONDS_MAX
    assert min(pauses[20:30]) >= PAUSE_SECONDS_MAX / 2
    assert len(set(pauses)) == len(pauses)


@pytest.mark.trio
async def test_after_a_connection_the_other_hosts_come_next(autojump_clock: trio.testing.MockClock) -> None:
    addresses = Addresses(HOSTS, Random(1))
    (lucky,) = await take(addresses, 1)
    addresses.succeeded()
    began = trio.current_time()
    assert lucky not in await take(addresses, 4)
    assert trio.current_time() - began <= 0.05


@pytest.mark.trio
async def test_a_name_that_cannot_be_resolved_is_skipped() -> None:
    addresses = Addresses([Host("no-such-host.invalid", 1), HOSTS[0]], Random(1))
    assert {a.host for a in await take(addresses, 2)} == {HOSTS[0]}


def test_clients_spread_over_the_hosts() -> None:
    first = {Addresses(HOSTS, Random(seed))._hosts[0] for seed in range(50)}
    assert first == set(HOSTS)
