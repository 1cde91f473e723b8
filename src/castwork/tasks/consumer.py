"""Consumer: the roles that serve one queue inside of a worker."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from castwork.model.settings import Limits, WorkerSettings
from castwork.redis.connections import Connections
from castwork.redis.link import Link
from castwork.tasks.announcer import Announcer
from castwork.tasks.attempt import Held
from castwork.tasks.control import Control
from castwork.tasks.fetcher import Fetcher
from castwork.tasks.finisher import Finisher
from castwork.tasks.queue import Queue
from castwork.tasks.recovery import Recovery
from castwork.tasks.registry import Registry
from castwork.tasks.runner import Runner
from castwork.tasks.scheduler import Scheduler
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
        self.queue = queue
        self.link = link
        self.held = Held()
        self.slots = Slots(queue.settings.concurrency or settings.concurrency)
        self.finisher = Finisher(queue, worker, scripts, self.slots, self.held)
        self.announcer = Announcer(
            queue, worker, scripts, self.held, after=settings.announce_after
        )
        self.runner = Runner(
            queue,
            worker,
            registry,
            connections.commands,
            self.slots,
            self.held,
            limits,
            threads=threads,
            settle=self.finisher.settle,
            launched=self.announcer.arm,
        )
        self.fetcher = Fetcher(
            queue,
            worker,
            scripts,
            link,
            self.slots,
            self.held,
            block=settings.block,
            start=self.runner.start,
        )
        self.recovery = Recovery(
            queue,
            worker,
            scripts,
            self.slots,
            lease=settings.lease,
            start=self.runner.start,
        )
        self.scheduler = Scheduler(queue, scripts, interval=settings.scheduler_interval)
        self.control = Control(queue, connections.pushes, self.held)
