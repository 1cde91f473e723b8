"""Fetcher: claims tasks for one queue, as many as there are free slots.

A blocking read may bring a few more; these go back to the queue at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from castwork.model.errors import ConnectionFailed, NotOpen, ServerError
from castwork.redis.replies import NoGroup
from castwork.store.claims import Batch, Claims
from castwork.store.place import QueuePlace
from castwork.worker.attempt import Attempt
from castwork.worker.lanes import Lanes
from castwork.worker.reader import Reader
from castwork.worker.runner import Runner
from castwork.worker.workload import Workload

logger = logging.getLogger(__name__)

#: Seconds between tries when the server refuses.
_PATIENCE = 1.0

#: Entries, and bytes of entries, that one claim should bring at most: a larger claim would hold up
#: the server's other clients.
_MOST = 1000
_MOST_BYTES = 300_000


class Fetcher:
    """Claims waiting tasks, urgent lanes first, without starving the other lanes.

    While tasks wait, claims take as many as there are free slots. When the queue is empty the
    reader waits for tasks. After an error that may have lost a reply, the fetcher first looks for
    tasks that were claimed for this worker but never arrived.

    Args:
        runner: runs the claimed tasks.
        reader: waits on the server, for this queue and others together.
    """

    def __init__(self, workload: Workload, claims: Claims, runner: Runner, reader: Reader) -> None:
        self._workload = workload
        self._claims = claims
        self._runner = runner
        self._reader = reader
        self._name = workload.queue.name
        self._lanes = Lanes(workload.queue.lanes)
        self._turn = asyncio.Lock()
        self._fitting = _MOST
        self._must_sweep = False
        self._stopping = False
        self._gave_back = False

    # -- what the reader asks -----------------------------------------------------------

    @property
    def place(self) -> QueuePlace:
        """The queue, for the reader."""
        return self._workload.store.place

    @property
    def rank(self) -> int:
        """The queue's place among the worker's queues."""
        return self._workload.rank

    @property
    def wants(self) -> int:
        """As many entries of each lane as there are slots for all lanes, and one at least.

        Where fewer entries come than were asked for, the lane held no more. So tasks that find an
        idle worker cost one read and no claim.
        """
        return max(1, min(self._workload.free, self._fitting) // len(self._workload.origins))

    def take(self, batch: Batch) -> None:
        """Begin the entries that a read brought; hand back those beyond the free slots.

        The server counts entries per lane, and other queues may have taken slots during the read,
        so that one read may bring a few too many.
        """
        self._fitting = _fitting(batch)
        self._runner.begin(batch)
        self._gave_back = self._runner.release_waiting() > 0

    @property
    def may_read(self) -> bool:
        """Whether a read may bring tasks of this queue."""
        return not self._workload.paused

    def hold(self, paused: bool) -> None:
        """Begin nothing while the queue is paused; a read that waits on the server is ended."""
        was_paused = "queue" in self._workload.paused
        if paused and not was_paused:
            logger.info("queue %s is paused", self._name)
            self._workload.pause("queue")
            self._reader.begin_anew()
        elif was_paused and not paused:
            logger.info("queue %s goes on", self._name)
            self._workload.go_on("queue")
            self._reader.begin_anew()

    # -- the loop -----------------------------------------------------------------------

    async def run(self) -> None:
        """Claim until `stop`; the groups must have been made."""
        more = True
        while not self._stopping:
            if self._workload.is_full:
                await self._workload.wait_free()
                # A task that waited meanwhile may be past its deadline; only a claim brings the
                # server's time.
                more = True
            if self._stopping:
                return
            try:
                more = await self._step(more)
            except NoGroup:
                logger.warning("queue %s: its group is gone, making it anew", self._name)
                await self._until_done(self._claims.create_groups)
            except ConnectionFailed:
                self._must_sweep = True
            except NotOpen:
                return
            except ServerError as error:
                logger.warning("queue %s: reading failed: %s", self._name, error)
                await asyncio.sleep(_PATIENCE)

    async def _step(self, more: bool) -> bool:
        """Do what is due; return whether more tasks may be waiting."""
        if self._must_sweep:
            await self.sweep()
            return True
        if more:
            await self._drain()
            return False
        batch = await self._reader.wait(self)
        return batch is not None and (batch.filled or self._gave_back)

    def stop(self) -> None:
        """Stop claiming; the reader must be stopped behind it."""
        self._stopping = True
        self._workload.close()

    # -- claiming -----------------------------------------------------------------------

    async def _drain(self) -> None:
        """Claim until nothing waits.

        Two claims take turns, each for half of the slots: while the tasks of one claim run here,
        the server stores the outcomes of the other claim's tasks, and claims anew.
        """
        replies = await asyncio.gather(
            self._claim_until_empty(), self._claim_until_empty(), return_exceptions=True
        )
        for reply in replies:
            if isinstance(reply, BaseException):
                raise reply

    async def _claim_until_empty(self) -> None:
        workload = self._workload
        most = max(1, (workload.most + 1) // 2)
        while not (self._stopping or self._must_sweep):
            count = min(workload.free, most, self._fitting)
            if count <= 0:
                await workload.wait_free()
                continue
            try:
                with workload.reserve(count):
                    claimed = await self.claim(count)
            except BaseException:
                self._must_sweep = True  # the claim may have been made all the same
                raise
            if claimed < count:
                return

    async def claim(self, count: int) -> int:
        """Take up to `count` of the waiting tasks, and return how many were taken.

        The tasks of each claim begin as a batch of their own. The replies of two claims often come
        together. If their tasks began together, they would end together too: the server would
        idle while they run, and the worker while outcomes are stored.
        """
        batch = await self._claim(count)
        self._fitting = _fitting(batch)
        async with self._turn:
            claimed = self._runner.begin(batch)
            if self._workload.paused:  # since the claim was sent
                self._runner.release_waiting()
            await asyncio.sleep(0)  # the batch runs now, and short tasks end
        return claimed

    async def _claim(self, count: int) -> Batch:
        lanes = self._lanes
        if lanes.only is not None:
            batch, others = await self._claims.claim_from(lanes.only, count)
            if others:
                lanes.only = None
            return batch
        shares = lanes.shares(count)
        batch = await self._claims.claim(count, shares)
        lanes.note(batch, shares)
        return batch

    async def sweep(self) -> int:
        """Start tasks that were claimed for this worker by a call whose reply was lost.

        Returns:
            The number of tasks found.
        """
        workload, found = self._workload, 0
        for origin in workload.origins:
            # Noted before the call and after it: an attempt that ends or begins during the call is
            # pending in the reply, but known.
            known = set(workload.held[origin.lane])
            # Entries come oldest first: all that are held may stand before those that are not.
            most = len(known) + workload.most * 2
            pending = await self._claims.pending(origin.lane, most)
            known |= set(workload.held[origin.lane])
            unheard = [one for one in pending if one[0] not in known]
            now_ms = await self._claims.now_ms() if unheard else 0
            for left in await self._claims.read_pending(origin.lane, unheard):
                attempt = Attempt(origin, left.entry_id, left.deliveries, left.fields)
                self._runner.start(attempt, now_ms)
                found += 1
        self._must_sweep = False
        if found:
            logger.info("queue %s: %d tasks had been claimed unheard", self._name, found)
        return found

    async def _until_done(self, work: Callable[[], Awaitable[None]]) -> None:
        """Repeat some work until it succeeds, as reading makes no sense before."""
        while not self._stopping:
            try:
                await work()
                return
            except ConnectionFailed:
                continue
            except NotOpen:
                return
            except ServerError as error:
                logger.warning("queue %s: cannot make its group: %s", self._name, error)
                await asyncio.sleep(_PATIENCE)


def _fitting(batch: Batch) -> int:
    """How many entries the next claim should ask for, judged by the size of each lane's last."""
    sizes = [sum(map(len, entries[-1][1])) for _, entries in batch.lanes if entries]
    return max(1, min(_MOST, _MOST_BYTES // max(sizes, default=1)))
