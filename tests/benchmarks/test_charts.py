"""Charts and tables: they show the figures, need nothing from elsewhere, and are those of the stored data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import charts
from benchmarks.charts import DATA, DOCUMENTS, FILES, IMAGES
from benchmarks.documents import BEGIN, END, figures, with_figures
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


@pytest.mark.parametrize("document", DOCUMENTS, ids=[document.name for document in DOCUMENTS])
def test_the_tables_of_the_documents_are_those_of_the_stored_data(document: Path) -> None:
    runs = {heading: json.loads((DATA / name).read_text("utf-8")) for heading, name in FILES.items()}
    text = document.read_text("utf-8")
    assert text == with_figures(text, runs), f"{document.name}: python -m benchmarks.charts writes it anew"


def test_a_table_has_medians_and_ratios_and_says_where_coord_is_not_ahead() -> None:
    text = figures(
        {
            "Three members": _data(coord=_side(2, 3), zookeeper=_side(1, 3)),
            "One server": _data(coord=_side(1, 0), zookeeper=_side(1.001, 0)),
        }
    )
    assert "| reads <1x1> | 4,000 | 2,000 | 2.00 | 0.50 |" in text
    assert (
        "| Three members: a write's wait when the leader is killed, median (worst) | 0.50 s (0.75 s) |"
        in text
    )
    assert "One server: a write's wait" not in text
    assert (
        "coord is not ahead in: *reads <1x1>* (one server: 1.00 of the operations and 1.00 of the p99)."
        in text
    )
    assert "2 cores. coord 1. Medians of 3 rounds, 2026-01-31." in text


def test_where_coord_is_ahead_everywhere_that_is_said() -> None:
    text = figures({"One server": _data(coord=_side(2, 0), zookeeper=_side(1, 0))})
    assert "coord is not ahead in: none of these rows." in text


def test_a_table_of_coord_alone_compares_nothing() -> None:
    text = figures({"One server": _data(coord=_side(2, 0))})
    assert "| reads <1x1> | 4,000 |\n" in text
    assert "ahead" not in text


def test_only_what_is_between_the_comments_is_written() -> None:
    runs = {"One server": _data(coord=_side(2, 0))}
    once = with_figures(f"before\n{BEGIN}\nold\n{END}\nafter\n", runs)
    assert once == f"before\n{BEGIN}\n\n{figures(runs)}\n{END}\nafter\n"
    assert with_figures(once, runs) == once


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}", f"{BEGIN}{END}{END}"])
def test_a_document_without_one_place_for_figures_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no place for figures"):
        with_figures(text, {"One server": _data(coord=_side(2, 0))})


def test_the_command_writes_pictures_and_documents(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(f"{BEGIN}{END}", encoding="utf-8")
    assert charts.main(["--into", str(tmp_path), "--documents", str(document)]) == 0
    assert "| reads 1x1 |" in document.read_text("utf-8")
    assert {one.name for one in tmp_path.glob("*.svg")} == {one.name for one in IMAGES.glob("bench-*.svg")}


def test_without_data_it_says_where_they_come_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert charts.main(["--data", str(tmp_path), "--into", str(tmp_path)]) == 1
    assert "python -m benchmarks.server --json" in capsys.readouterr().err
