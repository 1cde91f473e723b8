"""Consumer: the roles that serve one queue inside of a worker."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from castwork.model.settings import Limits, WorkerSettings
from castwork.redis.connections import Connections
from castwork.redis.link import Link
from castwork.tasks.announcer import Announcer
from castwork.tasks.control import Control
from castwork.tasks.fetcher import Fetcher
from castwork.tasks.finisher import Finisher
from castwork.tasks.queue import Queue
from castwork.tasks.recovery import Recovery
from castwork.tasks.registry import Registry
from castwork.tasks.runner import Runner
from castwork.tasks.scheduler import Scheduler
from castwork.tasks.serving import Serving
from castwork.tasks.slots import Slots


class Consumer:
    """Builds the roles of one queue and ties them together; it has no behaviour of its own."""

    def __init__(
        self,
        queue: Queue,
        worker: str,
        registry: Registry,
        connections: Connections,
        link: Link,
        settings: WorkerSettings,
        limits: Limits,
        threads: ThreadPoolExecutor,
    ) -> None:
        scripts = connections.scripts
        slots = Slots(queue.settings.concurrency or settings.concurrency)
        serving = self.serving = Serving(queue, worker, slots)
        self.link = link
        self.finisher = Finisher(serving, scripts)
        self.announcer = Announcer(serving, scripts, after=settings.announce_after)
        self.runner = Runner(
            serving,
            registry,
            connections.commands,
            limits,
            threads=threads,
            settle=self.finisher.settle,
            launched=self.announcer.arm,
        )
        start = self.runner.start
        self.fetcher = Fetcher(
            serving, scripts, connections.commands, link, block=settings.block, start=start
        )
        self.recovery = Recovery(serving, scripts, lease=settings.lease, start=start)
        self.scheduler = Scheduler(queue, scripts, interval=settings.scheduler_interval)
        self.control = Control(serving, connections.pushes)
