"""The charts: they show the figures, need nothing from elsewhere, and are those of the stored data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import charts
from benchmarks.charts import DATA, FILES, IMAGES
from benchmarks.drawing import Chart, Group, Panel, draw

SVG = "{http://www.w3.org/2000/svg}"


def _data(**sides: dict[str, Any]) -> dict[str, Any]:
    return {"machine": "2 cores", "versions": "coord 1", "date": "2026-01-31", "sides": sides}


def _side(factor: float, kills: int) -> dict[str, Any]:
    return {
        "rates": {"reads <1x1>": [1000 * factor, 3000 * factor, 2000 * factor]},
        "p99_us": {"reads <1x1>": [1500 / factor] * 3},
        "start_seconds": [1.0] * 3,
        "memory_bytes": [50_000_000] * 3,
        "failover_seconds": [0.25, 0.5, 0.75][:kills],
    }


def _texts(picture: str) -> list[str]:
    return [one.text or "" for one in ElementTree.fromstring(picture).iter(f"{SVG}text")]


def test_figures_are_medians_and_all_are_in_the_description() -> None:
    runs = {
        "Three members": _data(coord=_side(2, 3), zookeeper=_side(1, 3)),
        "One server": _data(coord=_side(2, 0), zookeeper=_side(1, 0)),
    }
    pictures = charts.charts(runs)
    assert {"4,000", "2,000", "×2.0", "reads <1x1>"} <= set(_texts(pictures["bench-throughput.svg"]))
    assert {"750 µs", "1.50 ms", "×0.50"} <= set(_texts(pictures["bench-latency.svg"]))
    footprint = _texts(pictures["bench-footprint.svg"])
    assert {"50 MB", "0.50 s", "0.75 s", "failover, worst of 3"} <= set(footprint)
    assert footprint.count("start to serving") == 2
    assert footprint.count("failover, median") == 1
    description = ElementTree.fromstring(pictures["bench-throughput.svg"]).find(f"{SVG}desc")
    assert description is not None
    assert "Three members, reads <1x1>: coord 4,000, Apache ZooKeeper 2,000." in (description.text or "")


def test_coord_alone_is_drawn_without_ratios() -> None:
    picture = charts.charts({"One server": _data(coord=_side(2, 0))})["bench-throughput.svg"]
    assert "4,000" in picture
    assert "×" not in picture
    assert "ZooKeeper" not in picture


def test_a_picture_needs_nothing_from_elsewhere() -> None:
    groups = [Group("a & b", [3.0, None], ["3", ""])]
    chart = Chart("Title", "which", ["first", "second"], [Panel("One", groups)], "where")
    picture = draw(chart)
    assert picture == draw(chart)
    root = ElementTree.fromstring(picture)
    assert {one.tag.removeprefix(SVG) for one in root.iter()} == {
        *("svg", "title", "desc", "style", "rect", "text", "path"),
    }
    for word in ("href", "url(", "@import", "@font-face"):
        assert word not in picture
    bars = [
        one for one in root.iter(f"{SVG}rect") if one.get("class", "").startswith("bar") and one.get("rx")
    ]
    assert len(bars) == 3  # two of the legend; what was not measured has none
    width = float(root.get("width", "0"))
    for one in root.iter(f"{SVG}rect"):
        assert float(one.get("x", "0")) + float(one.get("width", "0")) <= width


def test_the_stored_pictures_are_those_of_the_stored_data() -> None:
    runs = {heading: json.loads((DATA / name).read_text("utf-8")) for heading, name in FILES.items()}
    for name, picture in charts.charts(runs).items():
        assert (IMAGES / name).read_text("utf-8") == picture, (
            f"{name}: python -m benchmarks.charts draws it anew"
        )


def test_without_data_it_says_where_they_come_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert charts.main(["--data", str(tmp_path), "--into", str(tmp_path)]) == 1
    assert "python -m benchmarks.server --json" in capsys.readouterr().err
