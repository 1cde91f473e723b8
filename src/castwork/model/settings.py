"""Settings as frozen structs, each with its unit and default."""

from __future__ import annotations

import msgspec

from castwork.model.option_values import Check, count, duration, instance, settle, text
from castwork.model.queue import check_printable
from castwork.model.retry import Backoff

_LINK_CHECKS: dict[str, Check] = {
    "connect_timeout": duration(above_zero=True),
    "call_timeout": duration(above_zero=True),
    "ping_interval": duration(above_zero=True),
    "ping_timeout": duration(above_zero=True),
    "backoff": instance(Backoff),
}


class LinkSettings(msgspec.Struct, frozen=True):
    """How a connection behaves.

    Args:
        connect_timeout: seconds for connecting, TLS and the handshake together.
        call_timeout: seconds that a call waits for its reply, time without a connection
            included, before it raises.
        ping_interval: seconds without traffic after which a PING is sent.
        ping_timeout: seconds after which an unanswered connection is given up.
        backoff: waits between tries to connect.
    """

    connect_timeout: float = 5.0
    call_timeout: float = 15.0
    ping_interval: float = 15.0
    ping_timeout: float = 5.0
    backoff: Backoff = Backoff(base=0.1, factor=2.0, longest=5.0)

    def __post_init__(self) -> None:
        settle(self, _LINK_CHECKS)


class Limits(msgspec.Struct, frozen=True):
    """Bounds on what goes into Redis.

    Args:
        payload: bytes of one task's arguments or one event.
        result: bytes of one task's result.
        output: chunks kept of one task's output; older ones are dropped.
        dead_letters: dead letters kept per queue. Workers purge the oldest beyond them from time to
            time, and log which.
    """

    payload: int = 1_000_000
    result: int = 1_000_000
    output: int = 20_000
    dead_letters: int = 100_000

    def __post_init__(self) -> None:
        settle(self, dict.fromkeys(self.__struct_fields__, count()))


_APP_CHECKS: dict[str, Check] = {
    "namespace": text(),
    "link": instance(LinkSettings),
    "limits": instance(Limits),
    "allow_eviction": instance(bool),
}


class AppSettings(msgspec.Struct, frozen=True):
    """All settings of an app in one place.

    Args:
        namespace: prefix of all keys; two apps with different ones do not see each other.
        link: connections.
        limits: bounds.
        allow_eviction: work on a server whose `maxmemory-policy` is `allkeys-*`, which drops whole
            queues, histories and settings without a word when its memory is full.
    """

    namespace: str = "cw"
    link: LinkSettings = msgspec.field(default_factory=LinkSettings)
    limits: Limits = msgspec.field(default_factory=Limits)
    allow_eviction: bool = False

    def __post_init__(self) -> None:
        settle(self, _APP_CHECKS)
        check_printable("namespace", self.namespace)
