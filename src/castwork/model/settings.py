"""Settings as frozen structs, each with its unit and default."""

from __future__ import annotations

import msgspec

from castwork.model.errors import DefinitionError
from castwork.model.retry import Backoff
from castwork.model.states import Priority


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


class Limits(msgspec.Struct, frozen=True):
    """Bounds on what goes into Redis.

    Args:
        payload: bytes of one task's arguments or one event.
        result: bytes of one task's result.
        output: chunks kept of one task's output; older ones are dropped.
    """

    payload: int = 1_000_000
    result: int = 1_000_000
    output: int = 20_000


class QueueSettings(msgspec.Struct, frozen=True):
    """How a queue behaves.

    Args:
        max_depth: tasks waiting and running after which `enqueue` raises `QueueFull`;
            0 for no bound.
        concurrency: tasks of this queue that one worker runs at once; None for the
            worker's own setting.
    """

    max_depth: int = 0
    concurrency: int | None = None


class WorkerSettings(msgspec.Struct, frozen=True):
    """How a worker behaves.

    Args:
        concurrency: tasks of one queue that run at once.
        lease: seconds that an attempt is owned without renewal. It is renewed at a third of
            it; work of a lost worker comes back after about one lease.
        grace: seconds that running tasks get to finish on SIGTERM.
        block: seconds that an idle read waits on the server.
        announce_after: seconds after which a task that still runs is announced as `running`.
        scheduler_interval: seconds between looks for due tasks.
        heartbeat: seconds between signs of life.
    """

    concurrency: int = 100
    lease: float = 15.0
    grace: float = 20.0
    block: float = 2.0
    announce_after: float = 0.02
    scheduler_interval: float = 0.5
    heartbeat: float = 2.0

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise DefinitionError("concurrency must be at least 1")
        if self.lease < 0.3:
            raise DefinitionError("lease must be at least 0.3 seconds")


class TaskSettings(msgspec.Struct, frozen=True):
    """What `@app.task` says about a task function.

    Args:
        name: the function's name on the wire.
        queue: the queue of its tasks.
        attempts: deliveries before a task is dead-lettered, crashes included.
        timeout: seconds that one attempt may take; None for no bound.
        result_ttl: seconds that the result is kept after the end, 60 or more.
        backoff: waits between attempts.
        stream: a stream of the user's own to adopt, None for none.
        group: the consumer group on that stream.
    """

    name: str
    queue: str = "default"
    attempts: int = 3
    timeout: float | None = 300.0
    result_ttl: float = 3600.0
    backoff: Backoff = Backoff()
    stream: str | None = None
    group: str = "workers"

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise DefinitionError(f"task {self.name!r}: attempts must be at least 1")
        if self.result_ttl < 60:
            raise DefinitionError(
                f"task {self.name!r}: result_ttl must be at least 60 seconds: the record also"
                " keeps a repeated enqueue from doubling the task"
            )
        if self.timeout is not None and self.timeout <= 0:
            raise DefinitionError(f"task {self.name!r}: timeout must be above 0 or None")
        if not self.queue or any(c in "{}:* " for c in self.queue):
            raise DefinitionError(
                f"task {self.name!r}: a queue's name has no braces, colons, stars or spaces"
            )


class EnqueueOptions(msgspec.Struct, frozen=True):
    """What `task.options(...)` says about one call.

    Args:
        priority: the lane.
        delay: seconds to wait before the task is queued.
        key: idempotency key; a second enqueue with it returns the first task.
        key_ttl: seconds that the key is remembered.
        deadline: seconds after which it is too late to start; the task then expires.
        attempts: replaces the task function's.
        timeout: replaces the task function's, in seconds.
    """

    priority: Priority = Priority.NORMAL
    delay: float = 0.0
    key: str | None = None
    key_ttl: float = 86_400.0
    deadline: float | None = None
    attempts: int | None = None
    timeout: float | None = None

    def __post_init__(self) -> None:
        if self.key_ttl < 1:
            raise DefinitionError("key_ttl must be at least 1 second")


class AppSettings(msgspec.Struct, frozen=True):
    """All settings of an app in one place.

    Args:
        namespace: prefix of all keys; two apps with different ones do not see each other.
        link: connections.
        limits: bounds.
    """

    namespace: str = "cw"
    link: LinkSettings = msgspec.field(default_factory=LinkSettings)
    limits: Limits = msgspec.field(default_factory=Limits)
