"""The pytest plugin of coord: ZooKeeper servers as fixtures, in milliseconds, with every fault at hand.

Owns the fixtures, their settings (the marker `coord`, the ini option `coord_settings`) and the server's
lines in the report of a failed test. The servers are `coord.testing`'s. pytest imports this module at each
start, of projects that never use it, too: so nothing of coord is imported before a fixture needs it, and the
package is not inside of coord, whose import brings trio.

Synopsis::

    def test_with_kazoo(coord_server):  # pytest finds the fixture where coord is installed
        client = KazooClient(coord_server.connect_string)
        client.start()
        coord_server.expire_session(client)


    @pytest.mark.coord(tick_time=0.05, max_session_timeout=30)
    def test_with_an_ensemble(coord_ensemble):
        coord_ensemble.kill_leader()

================================  ======================================================================
``coord_server``                  a server of the test's own: fresh, empty, in memory
``coord_server_session``          one for all tests of the session, put right after each of them
``coord_chroot``                  its connect string, with an empty znode of the test's own behind it
``coord_ensemble``                three members of the test's own
``coord_ensemble_session``        three for all tests of the session
``coord_trio_server``             with pytest-trio: a server in the test's own loop, on its clock
``coord_trio_ensemble``           likewise
================================  ======================================================================
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from coord.testing import EnsembleHandle, ServerHandle

MARKER = (
    "coord(**settings): settings of the test's own server or ensemble: tick_time, min_session_timeout and "
    "max_session_timeout in seconds, size of an ensemble, or fields of coord.config.Config"
)
INI = "settings of every server of coord's fixtures, NAME=VALUE a line; the marker coord goes before them"

_SHARED: pytest.StashKey[list[ServerHandle | EnsembleHandle]] = pytest.StashKey()
"""the session's servers, while they are there"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("coord_settings", INI, type="linelist", default=[])


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)
    if config.pluginmanager.has_plugin("trio"):  # pytest-trio's name; then trio is imported anyway
        from pytest_coord import trio_fixtures

        config.pluginmanager.register(trio_fixtures, "coord-trio")


@pytest.fixture
def coord_server(request: pytest.FixtureRequest) -> Iterator[ServerHandle]:
    """A ZooKeeper server of the test's own: fresh, empty, in memory; see coord.testing.ServerHandle."""
    from coord.testing import server_in_thread

    with log_lines(), server_in_thread(**settings_of(request)) as server:
        yield server


@pytest.fixture(scope="session")
def coord_server_session(request: pytest.FixtureRequest) -> Iterator[ServerHandle]:
    """A ZooKeeper server for all tests of the session, put right after each of them; see coord_chroot."""
    from coord.testing import server_in_thread

    with log_lines(), server_in_thread(**settings_of(request)) as server, _shared(request, server):
        yield server


@pytest.fixture
def coord_chroot(request: pytest.FixtureRequest, coord_server_session: ServerHandle) -> str:
    """A connect string of the session's server, with a new, empty znode behind it that is / to the client."""
    return coord_server_session.new_chroot(request.node.name)


@pytest.fixture
def coord_ensemble(request: pytest.FixtureRequest) -> Iterator[EnsembleHandle]:
    """Three ZooKeeper servers of the test's own, one of them leading; see coord.testing.EnsembleHandle."""
    from coord.testing import ensemble_in_thread

    with log_lines(), ensemble_in_thread(**settings_of(request, size=3)) as ensemble:
        yield ensemble


@pytest.fixture(scope="session")
def coord_ensemble_session(request: pytest.FixtureRequest) -> Iterator[EnsembleHandle]:
    """Three ZooKeeper servers for all tests of the session, put right after each of them; see its
    new_chroot."""
    from coord.testing import ensemble_in_thread

    with (
        log_lines(),
        ensemble_in_thread(**settings_of(request, size=3)) as ensemble,
        _shared(request, ensemble),
    ):
        yield ensemble


@contextmanager
def _shared(request: pytest.FixtureRequest, one: ServerHandle | EnsembleHandle) -> Iterator[None]:
    there = request.session.stash.setdefault(_SHARED, [])
    there.append(one)
    try:
        yield
    finally:
        there.remove(one)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """A test may leave a shared server down, or cut off: the next one finds it running."""
    for one in item.session.stash.get(_SHARED, []):
        one.restore()


def settings_of(request: pytest.FixtureRequest, **defaults: Any) -> dict[str, Any]:
    """The ini file's, then the markers' (of the module, the class, the test). A bad one fails the test, in
    one line. `size` is dropped where it has no default: a server alone has none."""
    from coord.errors import ConfigError
    from coord.testing.embedded import config_of

    settings = {"tick_time": 1.0, "size": 3, **_written(request)}
    try:
        if not isinstance(settings["size"], int) or settings["size"] < 2:
            raise ValueError(
                f"size is the number of an ensemble's members, 2 or more, not {settings['size']!r}"
            )
        config_of(**{name: value for name, value in settings.items() if name != "size"})
    except (TypeError, ValueError, ConfigError) as error:
        pytest.fail(f"coord's settings of {request.node.name or 'the session'}: {error}", pytrace=False)
    chosen = defaults | _written(request)
    return chosen if "size" in defaults else {n: value for n, value in chosen.items() if n != "size"}


def _written(request: pytest.FixtureRequest) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for line in request.config.getini("coord_settings"):
        name, equals, value = (part.strip() for part in line.partition("="))
        if not (name and equals and value):
            raise pytest.UsageError(f"coord_settings: expected NAME=VALUE, got {line!r}")
        settings[name] = _value(value)
    for marker in reversed(list(request.node.iter_markers("coord"))):
        if marker.args:
            pytest.fail(f"@pytest.mark.coord takes settings by name, not {marker.args!r}", pytrace=False)
        settings |= marker.kwargs
    return settings


def _value(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


@contextmanager
def log_lines() -> Iterator[None]:
    """What servers and clients log is in the report of a test that fails, with its fields."""
    import logging

    from coord.logs import SpellingOut

    loggers = [logging.getLogger(name) for name in ("coord", "recipes")]
    handler = SpellingOut()
    unset = [logger for logger in loggers if logger.level == logging.NOTSET]
    for logger in loggers:
        logger.addHandler(handler)
    for logger in unset:
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        for logger in unset:
            logger.setLevel(logging.NOTSET)
