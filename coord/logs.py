"""What the server says: one event per line, for people (`text`) or for machines (`json`).

Owns the two formats and how logging is set up. Must not know what is logged.

Rules that hold here:

- An event is a short constant message and fields: ``log.info("session opened", extra=fields(session=0x1f))``.
  The message can be searched for, the fields tell this event from the next.
- One event is one line, whatever its fields hold: line breaks are escaped, tracebacks are joined.
- Passwords and znode data are never fields.

Synopsis::

    set_up("text", "INFO")
    logging.getLogger("coord.server").info("listening", extra=fields(address="127.0.0.1:2181"))
    # 2026-01-31T12:00:00.000Z INFO  coord.server listening address=127.0.0.1:2181
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TextIO

FORMATS: Final = ("text", "json")
LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")


def fields(**values: object) -> dict[str, dict[str, object]]:
    """The `extra` argument of a logging call: `values` become the event's fields."""
    return {"fields": values}


def set_up(log_format: str = "text", level: str = "INFO", stream: TextIO | None = None) -> None:
    """Sends everything that coord, its recipes and demos log to `stream` (standard error unless given)."""
    output = logging.StreamHandler(stream or sys.stderr)
    output.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level, handlers=[output], force=True)


class TextFormatter(logging.Formatter):
    """``time LEVEL logger message key=value …``"""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_time(record)} {record.levelname:<7} {record.name} {_one_line(record.getMessage())}"
        return line + _spelled(_fields(record, self))


class SpellingOut(logging.Handler):
    """Adds the fields of each event to its message, for whoever handles it later and does not know of them
    (pytest's report of a failed test)."""

    def emit(self, record: logging.LogRecord) -> None:
        values = record.__dict__.pop("fields", {})
        record.msg, record.args = record.getMessage() + _spelled(values), ()


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, message (which no field replaces), then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        event = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        return json.dumps({**event, **_fields(record, self), **event}, default=str, ensure_ascii=False)


def _fields(record: logging.LogRecord, formatter: logging.Formatter) -> Mapping[str, Any]:
    values = dict(getattr(record, "fields", {}))
    if record.exc_info and record.exc_info[0] is not None:
        values["traceback"] = formatter.formatException(record.exc_info)
    return values


def _spelled(values: Mapping[str, Any]) -> str:
    return "".join(f" {key}={_text(value)}" for key, value in values.items())


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(value: object) -> str:
    """A value as one word: quoted (as JSON does it) when it is empty or would not be one."""
    text = str(value)
    plain = text and text.isprintable() and not any(character in text for character in ' "=')
    return text if plain else json.dumps(text, ensure_ascii=False)


def _one_line(text: str) -> str:
    return text if text.isprintable() else json.dumps(text, ensure_ascii=False)[1:-1]
