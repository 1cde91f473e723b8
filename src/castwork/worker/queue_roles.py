"""QueueRoles: the roles that serve one queue inside of a worker."""

from __future__ import annotations

from castwork.model.settings import Limits
from castwork.model.worker_options import WorkerSettings
from castwork.tasks.catalog import Catalog
from castwork.worker.announcer import Announcer
from castwork.worker.attendance import Attendance
from castwork.worker.callers.choose import Callers
from castwork.worker.control import Control
from castwork.worker.fetcher import Fetcher
from castwork.worker.finisher import Finisher
from castwork.worker.gate import Gate
from castwork.worker.quarantine import Quarantine
from castwork.worker.reader import Reader
from castwork.worker.recovery import Recovery
from castwork.worker.runner import Runner
from castwork.worker.scheduler import Scheduler
from castwork.worker.ticker import Ticker
from castwork.worker.understanding import Understanding
from castwork.worker.waker import Waker
from castwork.worker.workload import Workload


class QueueRoles:
    """Builds the roles of one queue, and connects them."""

    def __init__(
        self,
        workload: Workload,
        catalog: Catalog,
        callers: Callers,
        reader: Reader,
        quarantine: Quarantine,
        settings: WorkerSettings,
        limits: Limits,
    ) -> None:
        store, worker_id = workload.store, workload.worker_id
        claims, outcomes = store.claims(worker_id), store.outcomes(worker_id)
        self.workload = workload
        workload.places = _places(workload, catalog)
        self.claims = claims
        admissions = store.admissions(worker_id, settings.lease)
        self.gate = Gate(workload, admissions)
        self.waker = Waker(
            admissions,
            store.queue.name,
            interval=settings.scheduler_interval,
            lease=settings.lease,
        )
        # A function may be enqueued into other queues, too.
        if store.queue.settings.limits or any(one.limited is not None for one in catalog):
            self.waker.begin()
        self.gate.on_use, self.gate.on_plan = self.waker.begin, self.waker.plan
        self.finisher = Finisher(workload, outcomes, self.gate)
        self.announcer = Announcer(workload, outcomes, after=settings.announce_after)
        understanding = Understanding(
            workload, catalog, callers, unknown_grace=settings.unknown_grace
        )
        self.runner = Runner(
            workload, understanding, limits.result, self.announcer, self.finisher, self.gate
        )
        self.fetcher = Fetcher(workload, claims, self.runner, reader)
        self.recovery = Recovery(
            workload, claims, self.runner, self.fetcher, quarantine, lease=settings.lease
        )
        self.scheduler = Scheduler(
            store.parked, store.queue.name, interval=settings.scheduler_interval
        )
        functions = [
            one
            for one in catalog
            if one.store is store and one.settings.schedule is not None and not one.is_remote
        ]
        self.ticker = Ticker(
            store.schedules, functions, store.queue.name, grace=settings.unknown_grace
        )
        self.attendance = Attendance(workload)
        self.control = Control(workload, claims, self.fetcher)


def _places(workload: Workload, catalog: Catalog) -> int:
    """Attempts that may be claimed beyond the slots: two batches, where all functions are batches.

    In a queue with other functions an entry may be of any, and takes a slot when it is claimed.
    """
    store = workload.store
    batches = [one.settings.batch for one in catalog if one.store is store and not one.is_remote]
    if not batches or None in batches:
        return 0
    return 2 * max(batch.max_size for batch in batches if batch is not None)
