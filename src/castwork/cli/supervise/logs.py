"""Logging of the long-running commands."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from castwork.model.safe_text import printable


def configure_logging() -> None:
    """Log to stderr, one short line each, unless the user's module has set up logging itself.

    `CASTWORK_LOG_LEVEL` says from which level on. This is called when the user's module has been
    imported.
    """
    level = os.environ.get("CASTWORK_LOG_LEVEL", "INFO").upper()
    known = level in logging.getLevelNamesMapping()
    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter())
    logging.basicConfig(level=level if known else "INFO", handlers=[handler])
    unmute_own_loggers()


class PrintableFormatter(logging.Formatter):
    """One line per record, and tracebacks indented below it, without control characters.

    Tasks log and raise what strangers have sent; that must neither look like a line of its own nor
    steer a terminal.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The record in one line."""
        return printable(super().formatMessage(record), sys.maxsize)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """The traceback, indented."""
        lines = super().formatException(ei).split("\n")
        return "\n".join(f"  {printable(line, sys.maxsize)}" for line in lines)


def unmute_own_loggers() -> None:
    """Enable castwork's loggers again.

    `logging.config.dictConfig` disables every logger that exists and that it does not name, unless
    it is told otherwise; then nothing would tell of lost connections and dead tasks.
    """
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if name.partition(".")[0] == "castwork" and isinstance(logger, logging.Logger):
            logger.disabled = False
