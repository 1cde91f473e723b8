"""Logging of the commands: the user's module comes first, and castwork is never mute."""

from __future__ import annotations

import io
import logging
import logging.config
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from castwork.cli.supervise.logs import configure_logging


@contextmanager
def bare_root() -> Iterator[logging.Logger]:
    """The root logger without handlers, as a program finds it."""
    root = logging.getLogger()
    before = root.handlers, root.level
    root.handlers = []  # a fixture cannot take them away: pytest adds its own behind it
    try:
        yield root
    finally:
        root.handlers, root.level = before


def test_logging_is_set_up_where_nobody_has_done_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CASTWORK_LOG_LEVEL", "debug")
    with bare_root() as root:
        configure_logging()
        assert (len(root.handlers), root.level) == (1, logging.DEBUG)


def test_the_users_own_logging_is_left_alone() -> None:
    with bare_root() as root:
        logging.basicConfig(level=logging.ERROR, format="MINE %(message)s")
        [mine] = root.handlers
        configure_logging()
        assert (root.handlers, root.level) == ([mine], logging.ERROR)


def test_a_dict_config_does_not_mute_castwork() -> None:
    own, other = logging.getLogger("castwork.redis.link"), logging.getLogger("castworks.other")
    with bare_root():
        logging.config.dictConfig({"version": 1})
        assert own.disabled, "as Python does by default"
        configure_logging()

    assert (own.disabled, other.disabled) == (False, True)
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.disabled = False


def test_what_a_record_quotes_makes_no_line_of_its_own_and_steers_no_terminal() -> None:
    stream = io.StringIO()
    with bare_root() as root:
        configure_logging()
        [handler] = root.handlers
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(stream)
        try:
            raise ValueError("bad\n12:00:00 ERROR   root: forged \x1b[31m\x9b")
        except ValueError:
            root.exception("task %s", "a\n12:00:00 ERROR   root: forged\x1b]0;title\x07")
    first, *others = stream.getvalue().splitlines()
    assert first.endswith(r"task a\n12:00:00 ERROR   root: forged\x1b]0;title\x07")
    assert others
    assert all(line.startswith("  ") for line in others)
    assert all(line.isprintable() for line in others)
