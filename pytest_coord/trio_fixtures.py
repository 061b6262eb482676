"""The fixtures for pytest-trio: servers in the test's own loop, on the test's own clock.

Owns nothing but these fixtures; the plugin registers them where pytest-trio is installed. With pytest-trio's
`autojump_clock` or `mock_clock` a test, its clients and the server live in virtual time together.

Synopsis::

    async def test_nobody_waits(coord_trio_server, autojump_clock):
        async with coord.connect(coord_trio_server.connect_string, timeout=10) as zk:
            coord_trio_server.partition()
            await trio.sleep(20)  # takes no time
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pytest_trio import trio_fixture

from coord.testing import EmbeddedEnsemble, EmbeddedServer, embedded_ensemble, embedded_server
from pytest_coord import log_lines, settings_of


@trio_fixture  # type: ignore[untyped-decorator, unused-ignore]  # pytest-trio has no types
async def coord_trio_server(request: pytest.FixtureRequest) -> AsyncIterator[EmbeddedServer]:
    """A ZooKeeper server in the test's own trio loop; see coord.testing.EmbeddedServer."""
    with log_lines():
        async with embedded_server(**settings_of(request)) as server:
            yield server


@trio_fixture  # type: ignore[untyped-decorator, unused-ignore]  # pytest-trio has no types
async def coord_trio_ensemble(request: pytest.FixtureRequest) -> AsyncIterator[EmbeddedEnsemble]:
    """Three ZooKeeper servers in the test's own trio loop; see coord.testing.EmbeddedEnsemble."""
    with log_lines():
        async with embedded_ensemble(**settings_of(request, size=3)) as ensemble:
            yield ensemble
