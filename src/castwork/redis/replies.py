"""Error replies of the server as castwork's errors, sorted by what to do about them."""

from __future__ import annotations

import random
import re

from castwork.model.errors import (
    AuthenticationFailed,
    CastworkError,
    OutOfMemory,
    PersistenceFailed,
    ServerRefused,
)
from castwork.redis.address import Endpoint


class NoScript(ServerRefused):
    """The server does not know the script's hash: it restarted, or its cache was flushed."""


class NoGroup(ServerRefused):
    """The consumer group is gone, or the stream is."""


class Unblocked(ServerRefused):
    """A blocked read was ended: by CLIENT UNBLOCK, or as the server or the key went away."""


class CannotServe(ServerRefused):
    """The server behind the connection cannot serve at all now; nothing was done.

    It is loading, a replica, or cut off from its primary: another connection may find another
    server, or a later one the same server in a better state.
    """


class NothingDone(ServerRefused):
    """This one call was refused for now or sent elsewhere; nothing was done.

    The connection is fine, so the call may be sent again, also one that is not idempotent.
    """


class NotNow(NothingDone):
    """The call will be taken later: a slot is moving or not served, a script keeps the server busy.

    Attributes:
        first: seconds, the ceiling of the wait before the call is sent again.
        longest: seconds, the ceiling of every later wait.
    """

    first = 0.02
    longest = 0.25

    def wait(self, tries: int) -> float:
        """Draw the seconds to wait after `tries` refusals: doubled each time, with jitter."""
        ceiling = min(self.longest, self.first * 2.0 ** min(tries - 1, 16))
        return ceiling * (0.5 + 0.5 * random.random())


class TryAgain(NotNow):
    """TRYAGAIN: some of the call's keys are on their way to another server of the cluster."""


class ClusterDown(NotNow):
    """CLUSTERDOWN: the slot, or the whole cluster, has no primary."""

    first = 0.05
    longest = 0.5


class Busy(NotNow):
    """BUSY: a script keeps the server busy."""

    first = longest = 0.25


class NoReplicas(NotNow):
    """NOREPLICAS: the primary has fewer replicas than it needs to take writes."""

    first = longest = 0.25


class Redirected(NothingDone):
    """Another server of the cluster has the slot.

    Attributes:
        slot: number of the slot.
        host: of the server that has it; empty for the host that was asked.
        port: its port.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        # Inside of a script, older servers put words of their own before the code.
        told = _TOLD.search(message)
        self.slot = int(told[1]) if told else -1
        self.host = told[2].strip("[]") if told else ""
        self.port = int(told[3]) if told else 0

    def endpoint(self, asked: Endpoint) -> Endpoint | None:
        """Where the slot is, told by the server at `asked`; None where the server cannot say."""
        if not self.port or self.host == "?":
            return None
        return Endpoint(self.host or asked.host, self.port)


class Moved(Redirected):
    """MOVED: from now on another server has the slot."""


class Asked(Redirected):
    """ASK: another server has the keys of this one call; the slot is on its way there."""


_TOLD = re.compile(r"(?:MOVED|ASK) ([0-9]+) (\S*):([0-9]+)")

_CLASSES: dict[str, type[CastworkError]] = {
    "NOSCRIPT": NoScript,
    "NOGROUP": NoGroup,
    "UNBLOCKED": Unblocked,
    "LOADING": CannotServe,
    "MASTERDOWN": CannotServe,
    "READONLY": CannotServe,
    "TRYAGAIN": TryAgain,
    "CLUSTERDOWN": ClusterDown,
    "BUSY": Busy,
    "NOREPLICAS": NoReplicas,
    "MOVED": Moved,
    "ASK": Asked,
    "OOM": OutOfMemory,
    "MISCONF": PersistenceFailed,
    "NOAUTH": AuthenticationFailed,
    "WRONGPASS": AuthenticationFailed,
    "NOPERM": AuthenticationFailed,
}

_WRAPPED = re.compile(rf"[-: ]({'|'.join(_CLASSES)}) ")


def error_of(message: str) -> CastworkError:
    """Make the error for an error reply."""
    code = message.partition(" ")[0]
    if code == "ERR":  # inside of a script, older servers put words of their own first
        wrapped = _WRAPPED.search(message)
        code = wrapped[1] if wrapped else code
    known = _CLASSES.get(code)
    if known is None and code == "ERR" and "OOM command not allowed" in message:
        known = OutOfMemory  # how a script reports it on some servers
    return (known or ServerRefused)(message)
