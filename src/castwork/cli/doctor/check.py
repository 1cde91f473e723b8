"""Check: one finding of `castwork doctor`."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Check(msgspec.Struct):
    """One finding.

    Attributes:
        name: what was looked at.
        level: how bad it is.
        message: what was found, and what that risks.
        mend: what mends it, a command where there is one; empty when nothing is wrong.
    """

    name: str
    level: Level
    message: str
    mend: str = ""


def fine(name: str, message: str) -> Check:
    """A finding that is good."""
    return Check(name, Level.OK, message)


def warn(name: str, message: str, mend: str = "") -> Check:
    """A finding that may become a fault."""
    return Check(name, Level.WARN, message, mend)


def fail(name: str, message: str, mend: str = "") -> Check:
    """A fault."""
    return Check(name, Level.FAIL, message, mend)
