"""Log records on their way from one process to another."""

from __future__ import annotations

import logging
import pickle

from castwork.model.safe_text import safe_text
from castwork.worker.processes.messages import Log


def log_of(record: logging.LogRecord) -> Log:
    """A record as a message, without its extras where those cannot be pickled."""
    try:
        fields = pickle.dumps(record.__dict__)
    except Exception:  # of the extras' own code, too
        fields = b""
    return Log(safe_text(lambda: record.name), record.levelno, safe_text(record.getMessage), fields)


def record_of(log: Log) -> logging.LogRecord:
    """The record again; without its extras where they cannot be made again here."""
    if log.record:
        try:
            return logging.makeLogRecord(pickle.loads(log.record))
        except Exception:  # as of an exception that asks for two arguments
            pass
    return logging.LogRecord(log.name, log.level, "", 0, log.message, None, None)
