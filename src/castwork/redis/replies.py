"""Error replies of the server as castwork's errors, sorted by what to do about them."""

from __future__ import annotations

import re

from castwork.model.dice import dice
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
    """A blocking read was ended: by CLIENT UNBLOCK, or as the server or the key went away."""


class CannotServe(ServerRefused):
    """The server behind the connection cannot serve at all now; nothing was done.

    The server is loading, a replica, or cut off from its primary. Another connection may find
    another server, and a later connection may find this server in a better state.
    """


class NothingDone(ServerRefused):
    """This one call was refused for now or sent elsewhere; nothing was done.

    The connection is fine, and the call may be sent again even if it is not idempotent.
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
        return ceiling * (0.5 + 0.5 * dice.random())


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
    """Another server has the slot: only clusters, and proxies before them, reply so.

    Attributes:
        slot: number of the slot.
        host: the host of the server that has the slot; empty for the host that was asked.
        port: that server's port.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        # Older servers put words of their own before the code of an error inside of a script.
        told = _TOLD.search(message)
        self.slot = int(told[1]) if told else -1
        self.host = told[2].strip("[]") if told else ""
        self.port = int(told[3]) if told else 0

    def endpoint(self, asked: Endpoint) -> Endpoint | None:
        """Where the slot is, as the server at `asked` tells; None where the server cannot say.

        For clusters, which send the call there.
        """
        if not self.port or self.host == "?":
            return None
        return Endpoint(self.host or asked.host, self.port)


class Moved(Redirected):
    """MOVED, of clusters: from now on another server has the slot."""


class Asked(Redirected):
    """ASK, of clusters: another server has this call's keys; their slot is on its way there."""


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
    if code == "ERR":  # as above: the code may stand behind words of the server's own
        wrapped = _WRAPPED.search(message)
        code = wrapped[1] if wrapped else code
    known = _CLASSES.get(code)
    if known is None and code == "ERR" and "OOM command not allowed" in message:
        known = OutOfMemory  # so some servers report a lack of memory inside of a script
    return (known or ServerRefused)(message)
