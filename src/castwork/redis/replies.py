"""Error replies of the server as castwork's errors, sorted by what to do about them."""

from __future__ import annotations

import re

from castwork.model.errors import AuthenticationFailed, CastworkError, OutOfMemory, ServerRefused

#: Codes that say "not now, nothing was done": another connection or a later try may work.
RETRY_LATER = frozenset({"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY"})


class NoScript(ServerRefused):
    """The server does not know the script's hash: it restarted, or its cache was flushed."""


class NoGroup(ServerRefused):
    """The consumer group is gone, or the stream is."""


class RetryLater(ServerRefused):
    """The server cannot serve now (loading, a replica, a busy script); nothing was done."""


class Unblocked(ServerRefused):
    """A blocked read was ended by CLIENT UNBLOCK."""


_CLASSES: dict[str, type[CastworkError]] = {
    "NOSCRIPT": NoScript,
    "NOGROUP": NoGroup,
    "UNBLOCKED": Unblocked,
    "OOM": OutOfMemory,
    "NOAUTH": AuthenticationFailed,
    "WRONGPASS": AuthenticationFailed,
    "NOPERM": AuthenticationFailed,
}


_WRAPPED = re.compile(rf"[-: ]({'|'.join([*_CLASSES, *RETRY_LATER])}) ")


def error_of(message: str) -> CastworkError:
    """Make the error for an error reply."""
    code = message.partition(" ")[0]
    if code == "ERR":  # inside of a script, older servers put words of their own first
        wrapped = _WRAPPED.search(message)
        code = wrapped[1] if wrapped else code
    if code in RETRY_LATER:
        return RetryLater(message)
    known = _CLASSES.get(code)
    if known is None and code == "ERR" and "OOM command not allowed" in message:
        known = OutOfMemory  # how a script reports it on some servers
    return (known or ServerRefused)(message)
