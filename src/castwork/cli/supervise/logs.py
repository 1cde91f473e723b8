"""Logging of the long-running commands."""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal

import msgspec

from castwork.cli.supervise.json_lines import JsonFormatter
from castwork.model.safe_text import printable

logger = logging.getLogger(__name__)


#: Has a line for each attempt, which costs as much as a short task: told when a level is asked for.
_EACH_ATTEMPT = "castwork.worker.journal"

Format = Literal["text", "json"]


class LogOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a command shall log, and how.

    Attributes:
        level: from which level on; empty for what happens once in a while, without each attempt.
        format: lines for people, or a JSON object each.
    """

    level: str = ""
    format: Format = "text"


def configure_logging(options: LogOptions) -> None:
    """Log to stderr, one short line each, unless the user's module has set up logging itself.

    Then only a level that was asked for counts, and for castwork's own loggers. This is called when
    the user's module has been imported.
    """
    level = options.level.upper()
    if logging.root.handlers:
        if level:
            logging.getLogger("castwork").setLevel(level)
        if options.format != "text":
            logger.warning("the module sets up logging itself: the log's format is its own")
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(JsonFormatter() if options.format == "json" else PrintableFormatter())
        logging.basicConfig(level=level or "INFO", handlers=[handler])
        if not level:
            logging.getLogger(_EACH_ATTEMPT).setLevel(logging.WARNING)
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
