"""The pytest plugin, as pytest runs it: scopes, settings, the report of a failure, and what it costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

INI = """
[pytest]
addopts = --strict-markers --strict-config
asyncio_default_fixture_loop_scope = function
filterwarnings =
    error
    ignore::pytest.PytestRemovedIn10Warning
"""

KAZOO = """
from contextlib import contextmanager
from kazoo.client import KazooClient
import pytest

@contextmanager
def connected(hosts, **options):
    client = KazooClient(hosts, **options)
    client.start(timeout=10)
    try:
        yield client
    finally:
        client.stop()
        client.close()
"""


@pytest.fixture(autouse=True)
def ini(pytester: pytest.Pytester) -> None:
    pytester.makefile(".ini", pytest=INI)


def test_each_test_has_a_server_of_its_own_that_is_empty(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        KAZOO
        + """
@pytest.mark.parametrize("number", range(3))
def test_it(coord_server, number):
    with connected(coord_server.connect_string) as zk:
        assert zk.get_children("/") == ["zookeeper"]
        zk.create("/a")
"""
    )
    pytester.runpytest().assert_outcomes(passed=3)


def test_a_server_of_the_session_is_shared_and_each_test_has_a_place_in_it(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        KAZOO
        + """
ports = set()

@pytest.mark.parametrize("number", range(3))
def test_it(coord_server_session, coord_chroot, number):
    assert coord_server_session.running
    with connected(coord_chroot) as zk:
        assert zk.get_children("/") == []
        zk.create("/a")
    ports.add(coord_server_session.port)
    assert len(ports) == 1
    coord_server_session.partition()
    coord_server_session.stop()  # the next test finds it running
"""
    )
    pytester.runpytest().assert_outcomes(passed=3)


def test_ensembles_have_both_scopes(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        KAZOO
        + """
shared = set()

@pytest.mark.parametrize("number", range(2))
def test_own(coord_ensemble, number):
    with connected(coord_ensemble.connect_string) as zk:
        zk.create("/a")
    coord_ensemble.kill_leader()

@pytest.mark.parametrize("number", range(2))
def test_shared(coord_ensemble_session, number):
    with connected(coord_ensemble_session.new_chroot()) as zk:
        zk.create("/a")
    shared.add(coord_ensemble_session.connect_string)
    assert len(shared) == 1

@pytest.mark.coord(size=5, tick_time=0.2)
def test_five(coord_ensemble):
    assert len(coord_ensemble.members) == 5
"""
    )
    pytester.runpytest().assert_outcomes(passed=5)


def test_what_a_test_does_to_a_shared_server_is_undone_also_if_it_fails(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        KAZOO
        + """
def test_fails(coord_server_session, coord_ensemble_session):
    coord_server_session.partition()
    coord_server_session.stop()
    coord_ensemble_session.kill_leader()
    coord_ensemble_session.kill_leader()
    assert False

def test_next(coord_server_session, coord_ensemble_session):
    for one in coord_server_session, coord_ensemble_session:
        with connected(one.new_chroot()) as zk:
            zk.create("/a")
    assert all(member.running for member in coord_ensemble_session.members)
"""
    )
    pytester.runpytest().assert_outcomes(failed=1, passed=1)


def test_a_marker_has_settings_and_the_ini_file_those_of_all(pytester: pytest.Pytester) -> None:
    pytester.makefile(
        ".ini", pytest=INI + "coord_settings =\n    max_session_timeout = 5\n    tick_time=0.05\n"
    )
    pytester.makepyfile(
        """
import coord, pytest, trio

pytestmark = pytest.mark.coord(min_session_timeout=2)

def timeout(hosts, seconds):
    async def ask():
        async with coord.connect(hosts, timeout=seconds) as zk:
            return zk.session.timeout
    return trio.run(ask)

def test_all_have_the_ini_files(coord_chroot, coord_server):
    assert timeout(coord_chroot, 60) == 5
    assert timeout(coord_server.connect_string, 60) == 5

def test_the_modules(coord_chroot, coord_server):
    assert timeout(coord_server.connect_string, 1) == 2
    assert timeout(coord_chroot, 1) == 1  # the session's server is not this module's

@pytest.mark.coord(max_session_timeout=3)
class TestClosest:
    @pytest.mark.coord(max_session_timeout=4)
    def test_it(self, coord_server):
        assert timeout(coord_server.connect_string, 60) == 4
"""
    )
    pytester.runpytest().assert_outcomes(passed=3)


@pytest.mark.parametrize(
    ("marker", "line"),
    [
        ("tick_tim=1", "a server has no setting 'tick_tim'; did you mean tick_time?"),
        ("3", "takes settings by name, not (3,)"),
        ("size=1", "size is the number of an ensemble's members, 2 or more, not 1"),
        ("min_session_timeout=9, max_session_timeout=8", "minSessionTimeout (9000 ms) must be"),
    ],
)
def test_a_bad_marker_is_one_line(pytester: pytest.Pytester, marker: str, line: str) -> None:
    pytester.makepyfile(
        f"""
import pytest
@pytest.mark.coord({marker})
def test_it(coord_server):
    pass
"""
    )
    result = pytester.runpytest()
    result.assert_outcomes(errors=1)
    assert line in result.stdout.str()
    assert "Traceback" not in result.stdout.str()


def test_a_bad_line_of_the_ini_file_is_said(pytester: pytest.Pytester) -> None:
    pytester.makefile(".ini", pytest=INI + "coord_settings = tick_time\n")
    pytester.makepyfile("def test_it(coord_server): pass")
    result = pytester.runpytest()
    result.assert_outcomes(errors=1)
    assert "coord_settings: expected NAME=VALUE, got 'tick_time'" in result.stdout.str()


def test_a_failure_shows_what_the_server_has_logged(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        KAZOO
        + """
import logging

def test_it(coord_server):
    with connected(coord_server.connect_string) as zk:
        coord_server.expire_session(zk)
        assert False

def test_the_level_is_as_it_was():
    assert logging.getLogger("coord").level == logging.NOTSET
    assert not logging.getLogger("coord").handlers

def test_it_goes_well(coord_server, caplog):
    with connected(coord_server.connect_string) as zk:
        session = zk.client_id[0]
        coord_server.expire_session(zk)
    assert f"session expired session={session:#x}" in caplog.messages
"""
    )
    result = pytester.runpytest()
    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines(
        ["*Captured log call*", "*coord.server*session opened session=0x1*client=127.0.0.1:*"]
    )
    result.stdout.fnmatch_lines(["*coord.server*session expired session=0x1*"])


def test_trio_tests_have_a_server_on_their_own_clock(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
import coord, pytest, trio

@pytest.mark.trio
@pytest.mark.coord(max_session_timeout=8)
async def test_server(coord_trio_server, autojump_clock):
    async with coord.connect(coord_trio_server.connect_string, timeout=60) as zk:
        assert zk.session.timeout == 8
        before = zk.session.id
        with coord_trio_server.partition():
            await trio.sleep(9)
        with pytest.raises(coord.SessionExpired):
            await zk.exists("/")

@pytest.mark.trio
async def test_mock_clock(coord_trio_server, mock_clock):
    async with coord.connect(coord_trio_server.connect_string, timeout=8) as zk:
        await coord_trio_server.advance(100)
        assert coord_trio_server.sessions() == (zk.session.id,)

@pytest.mark.trio
async def test_ensemble(coord_trio_ensemble, autojump_clock):
    await coord_trio_ensemble.kill_leader()
    await coord_trio_ensemble.wait_leader()

@pytest.mark.trio
async def test_thread(coord_server):
    async with coord.connect(coord_server.connect_string) as zk:
        await zk.create("/a")
        coord_server.restart()
        assert await zk.exists("/a")
"""
    )
    pytester.runpytest().assert_outcomes(passed=4)


def test_without_pytest_trio_there_are_no_fixtures_for_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(coord_trio_server): pass")
    result = pytester.runpytest_subprocess("-p", "no:trio", "-o", "filterwarnings=default")
    result.assert_outcomes(errors=1)
    assert "fixture 'coord_trio_server' not found" in result.stdout.str()


def test_tests_of_asyncio_use_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
import asyncio, pytest

async def ask(server):
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(b"ruok")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer

@pytest.mark.asyncio
async def test_with_the_plugin(coord_server):
    assert await ask(coord_server) == b"imok"
    coord_server.restart()
    assert await ask(coord_server) == b"imok"

def test_without(coord_server):
    assert asyncio.run(ask(coord_server)) == b"imok"
"""
    )
    pytester.runpytest().assert_outcomes(passed=2)


def test_threads_and_sockets_are_gone_after_each_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
import gc, os, threading

def left():
    gc.collect()
    files = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    return set(threading.enumerate()), files  # others of this process are no fixture's

def test_nothing_is_there_yet():
    global before
    before = left()

def test_it(coord_server, coord_ensemble):
    coord_server.partition()
    coord_ensemble.kill_leader()

def test_nothing_is_left():
    assert left() == before
"""
    )
    pytester.runpytest().assert_outcomes(passed=3)


def test_it_costs_nothing_where_it_is_not_used(pytester: pytest.Pytester) -> None:
    """Neither coord nor trio is imported before a fixture is asked for."""
    pytester.makepyfile(
        """
import sys

def test_it(pytestconfig):
    assert pytestconfig.pluginmanager.has_plugin("coord")
    assert not {"trio", "coord", "coord.testing"} & set(sys.modules)
"""
    )
    result = pytester.runpytest_subprocess(
        *("-p", "no:trio", "-p", "no:asyncio", "-p", "no:hypothesispytest", "-p", "no:timeout"),
        *("-o", "filterwarnings=default", "-o", "addopts=--strict-markers"),
    )
    result.assert_outcomes(passed=1)


def test_the_fixtures_and_the_marker_explain_themselves(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest("--fixtures")
    text = result.stdout.str()
    for name in ("server", "server_session", "chroot", "ensemble", "ensemble_session", "trio_server"):
        assert f"\ncoord_{name}" in text
    ours = [section for section in text.split("fixtures defined from ") if section.startswith("pytest_coord")]
    assert len(ours) == 2
    assert "no docstring available" not in "".join(section.partition("---")[0] for section in ours)
    assert "@pytest.mark.coord(**settings)" in pytester.runpytest("--markers").stdout.str()


def test_a_module_that_only_imports_the_plugin_imports_nothing_else() -> None:
    code = "import sys, pytest_coord; print(sorted({'trio', 'coord'} & set(sys.modules)))"
    root = Path(__file__).parent.parent.parent
    told = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"
