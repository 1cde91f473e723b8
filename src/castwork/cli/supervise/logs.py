"""Logging of the long-running commands."""

from __future__ import annotations

import logging
import os


def configure_logging() -> None:
    """Log to stderr, one short line each, unless the user's module has set up logging itself.

    `CASTWORK_LOG_LEVEL` says from which level on. This is called when the user's module has been
    imported.
    """
    level = os.environ.get("CASTWORK_LOG_LEVEL", "INFO").upper()
    known = level in logging.getLevelNamesMapping()
    logging.basicConfig(
        level=level if known else "INFO",
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
    )
    unmute_own_loggers()


def unmute_own_loggers() -> None:
    """Enable castwork's loggers again.

    `logging.config.dictConfig` disables every logger that exists and that it does not name, unless
    it is told otherwise; then nothing would tell of lost connections and dead tasks.
    """
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if name.partition(".")[0] == "castwork" and isinstance(logger, logging.Logger):
            logger.disabled = False
