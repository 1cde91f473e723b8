"""Logging of the long-running commands."""

from __future__ import annotations

import logging
import os


def configure_logging() -> None:
    """Log to stderr, one short line each; `CASTWORK_LOG_LEVEL` says from which level on."""
    level = os.environ.get("CASTWORK_LOG_LEVEL", "INFO").upper()
    known = level in logging.getLevelNamesMapping()
    logging.basicConfig(
        level=level if known else "INFO",
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
    )
