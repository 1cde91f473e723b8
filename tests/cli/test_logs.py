"""Logging of the commands: the user's module comes first, and castwork is never mute."""

from __future__ import annotations

import io
import json
import logging
import logging.config
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import pytest

from castwork.cli.supervise.logs import LogOptions, configure_logging
from castwork.cli.terminal import Terminal


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


def test_logging_is_set_up_where_nobody_has_done_it() -> None:
    with bare_root() as root:
        configure_logging(LogOptions("debug"))
        assert (len(root.handlers), root.level) == (1, logging.DEBUG)


def test_the_users_own_logging_is_left_alone() -> None:
    with bare_root() as root:
        logging.basicConfig(level=logging.ERROR, format="MINE %(message)s")
        [mine] = root.handlers
        configure_logging(LogOptions())
        assert (root.handlers, root.level) == ([mine], logging.ERROR)


def test_a_dict_config_does_not_mute_castwork() -> None:
    own, other = logging.getLogger("castwork.redis.link"), logging.getLogger("castworks.other")
    with bare_root():
        logging.config.dictConfig({"version": 1})
        assert own.disabled, "as Python does by default"
        configure_logging(LogOptions())

    assert (own.disabled, other.disabled) == (False, True)
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.disabled = False


def test_what_a_record_quotes_makes_no_line_of_its_own_and_steers_no_terminal() -> None:
    stream = io.StringIO()
    with bare_root() as root:
        configure_logging(LogOptions())
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


def test_without_a_level_there_is_no_line_for_each_attempt() -> None:
    journal = logging.getLogger("castwork.worker.journal")
    for options, enabled in ((LogOptions(), False), (LogOptions("info"), True)):
        with bare_root():
            configure_logging(options)
            assert journal.isEnabledFor(logging.INFO) is enabled
            assert logging.getLogger("castwork.worker.runner").isEnabledFor(logging.INFO)
        journal.setLevel(logging.NOTSET)


def test_a_level_counts_for_castwork_where_the_user_has_set_up_logging(
    caplog: pytest.LogCaptureFixture,
) -> None:
    own = logging.getLogger("castwork")
    with bare_root() as root:
        logging.basicConfig(level=logging.ERROR, handlers=[caplog.handler])
        configure_logging(LogOptions("debug", "json"))
        assert (root.level, own.level) == (logging.ERROR, logging.DEBUG)
    own.setLevel(logging.NOTSET)
    assert "the log's format is its own" in caplog.text


def test_json_lines_hold_all_that_a_record_has() -> None:
    stream = io.StringIO()
    with bare_root() as root:
        configure_logging(LogOptions("info", "json"))
        [handler] = root.handlers
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(stream)
        try:
            raise ValueError("bad\nline")
        except ValueError:
            extra = {"user": 7, "odd": object, "torn": "\ud800", "nan": {1: float("nan")}}
            root.exception("for %s", "you\n", extra=extra)
    [line] = stream.getvalue().splitlines()
    told = json.loads(line)
    assert datetime.fromisoformat(told.pop("time")).tzinfo is not None
    assert "ValueError: bad\nline" in told.pop("exception")
    assert told.pop("nan") in ({"1": None}, "{1: nan}")
    assert told == {
        "level": "ERROR",
        "logger": "root",
        "message": "for you\n",
        "user": 7,
        "odd": "<class 'object'>",
        "torn": "\\ud800",
    }


def test_a_terminal_of_json_adds_the_process_and_wraps_other_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    terminal = Terminal(9, json=True)
    terminal.say("worker-1", '{"message":"a","seconds":0.10}')
    terminal.say("worker-1", "[1]")
    terminal.write("a banner \udc80")
    first, second, third = capsys.readouterr().out.splitlines()
    assert json.loads(first) == {"message": "a", "seconds": 0.1, "process": "worker-1"}
    assert [
        (json.loads(one)["process"], json.loads(one)["message"]) for one in (second, third)
    ] == [
        ("worker-1", "[1]"),
        ("castwork", "a banner \\udc80"),
    ]
