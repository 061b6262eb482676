"""One event, one line, in both formats."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable, Iterator

import pytest

from coord.logs import JsonFormatter, SpellingOut, TextFormatter, fields


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger of its own, so that pytest's set-up stays as it is."""
    logger = logging.getLogger("tests.logs")
    logger.propagate = False
    logger.setLevel("INFO")
    yield logger
    logger.handlers.clear()
    logger.propagate = True


def said(logger: logging.Logger, formatter: logging.Formatter, act: Callable[[], object]) -> str:
    stream = io.StringIO()
    output = logging.StreamHandler(stream)
    output.setFormatter(formatter)
    logger.addHandler(output)
    act()
    return stream.getvalue()


def test_text(logger: logging.Logger) -> None:
    extra = fields(session=hex(31), client="127.0.0.1:4000", why="no such\nthing", empty="")
    line = said(logger, TextFormatter(), lambda: logger.info("session closed", extra=extra))
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO    tests\.logs session closed "
        r'session=0x1f client=127\.0\.0\.1:4000 why="no such\\nthing" empty=""\n',
        line,
    )


def test_json(logger: logging.Logger) -> None:
    extra = fields(session=31, level="a field does not hide the level")
    line = said(logger, JsonFormatter(), lambda: logger.warning("session %s", "closed", extra=extra))
    event = json.loads(line)
    assert list(event) == ["time", "level", "logger", "message", "session"]
    assert (event["level"], event["message"], event["session"]) == ("WARNING", "session closed", 31)


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_a_traceback_and_a_line_break_stay_in_the_line(
    logger: logging.Logger, formatter: logging.Formatter
) -> None:
    def fail() -> None:
        try:
            raise ValueError("first\nsecond")
        except ValueError:
            logger.exception("it failed\nbadly")

    text = said(logger, formatter, fail)
    assert text.count("\n") == 1
    assert "ValueError: first" in text


def test_fields_are_spelled_out_for_formatters_that_do_not_know_them(logger: logging.Logger) -> None:
    logger.addHandler(SpellingOut())
    plain = logging.Formatter("%(message)s")
    extra = fields(session="0x1f", why="no such")
    line = said(logger, plain, lambda: logger.info("session %s", "closed", extra=extra))
    assert line == 'session closed session=0x1f why="no such"\n'
