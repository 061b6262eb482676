"""The benchmark of the clients runs, and has all figures of each library. How fast they are is not tested."""

from __future__ import annotations

import pytest

from benchmarks import client
from benchmarks.client_calls import TINY, UNITS
from benchmarks.client_libraries import LIBRARIES
from benchmarks.servers import coord_server


@pytest.mark.trio
async def test_every_library_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    async with coord_server() as hosts:
        server, table = await client.measure(hosts, TINY, 1)
    assert "coord" in server
    assert list(table) == list(LIBRARIES)
    for name, (figures,) in table.items():
        # kazoo's asynchronous calls are another way to have many under way; the rest of it is kazoo's.
        together = ("get, 100 callers", "set, 100 callers", "CPU of a get, 100 callers")
        assert set(figures) == set(together if name == "kazoo, async API" else UNITS), name
        assert all(value > 0 for figure, value in figures.items() if figure != "memory of a client")

    client.show(table, {"command": "make it"})
    shown = capsys.readouterr().out
    assert "make it" in shown
    assert [figure for figure in UNITS if figure not in shown] == []
