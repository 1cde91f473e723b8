"""Log records as JSON, a line each, for programs that collect logs."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import msgspec

from castwork.tasks.context import attempt_here

#: What every record has; what else a record has, its `extra` brought.
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, and `exception` if there is.

    A line that is written inside of a task has `task` and `attempt`. What a record's `extra`
    brought stands beside them, as text where it has no JSON form.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        attempt = attempt_here()
        if attempt is not None:
            line |= {"task": attempt.task_id, "attempt": attempt.number}
        line |= {name: value for name, value in vars(record).items() if name not in _USUAL}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return as_line(line)


def as_line(values: dict[str, Any]) -> str:
    """Values by name as one line of JSON that any reader takes: what is no JSON becomes text."""
    try:
        return _encode(values)
    except Exception:  # of msgspec, or of a value's own code
        return _encode({name: _plain(value) for name, value in values.items()})


def _plain(value: Any) -> Any:
    try:
        _encode({"": value})
    except Exception:
        return str(value).encode("utf-8", "backslashreplace").decode()
    return value


def _encode(values: dict[str, Any]) -> str:
    return msgspec.json.encode(values, enc_hook=str).decode()
