"""Fetcher: claims tasks for one queue, never more than there are free slots."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from castwork.model.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    NotOpen,
    OutOfMemory,
    ServerRefused,
)
from castwork.redis.link import Link
from castwork.redis.replies import NoGroup, Unblocked
from castwork.redis.scripts import CLAIM, Scripts
from castwork.tasks.attempt import Attempt
from castwork.tasks.queue import Lane
from castwork.tasks.serving import Serving

logger = logging.getLogger(__name__)

#: What a read brought: the server's time in ms (0: unknown), per lane its number and its entries.
Batch = tuple[int, list[tuple[int, list[Any]]]]


class Fetcher:
    """Claims waiting tasks, urgent lanes first, without starving the others.

    While tasks wait, one script call per pass takes as many as there are free slots. When
    the queue is empty it waits in a blocking read on its own connection, which is never
    cancelled: a cancelled read may already have claimed. After any error it first looks for
    tasks that were claimed for it but never arrived.

    Args:
        commands: the connection for what does not block.
        link: a connection for blocking reads.
        block: seconds that a read waits on the server.
        start: takes each claimed attempt; called with the server's time in ms.
    """

    def __init__(
        self,
        serving: Serving,
        scripts: Scripts,
        commands: Link,
        link: Link,
        *,
        block: float,
        start: Callable[[Attempt, int], None],
    ) -> None:
        self._queue = serving.queue
        self._consumer = serving.worker
        self._slots = serving.slots
        self._held = serving.held
        self._scripts = scripts
        self._commands = commands
        self._link = link
        self._block_ms = int(block * 1000)
        self._start = start
        self._only_lane = 0
        self._credit = [0.0] * len(serving.queue.lanes)
        self._turn = asyncio.Lock()
        self._must_sweep = False
        self._stopping = False
        link.on_lost.append(self._note_loss)

    async def run(self) -> None:
        """Claim until `stop`; the groups must have been made."""
        more = True
        while not self._stopping:
            if self._slots.free <= 0:
                await self._slots.wait_free()
                more = True  # what waits by now may be too late: only a claim tells the time
            if self._stopping:
                return
            try:
                if self._must_sweep:
                    await self.sweep()
                    more = True
                elif more:
                    more = False
                    await self._drain()
                else:
                    more = await self.wait()
            except NoGroup:
                logger.warning("queue %s: its group is gone, making it anew", self._queue.name)
                await self._repair(self.create_groups)
            except ConnectionFailed:
                self._must_sweep = True
            except Unblocked:
                continue
            except NotOpen:
                return
            except (AuthenticationFailed, ServerRefused):
                logger.exception("queue %s: reading failed", self._queue.name)
                await asyncio.sleep(1.0)

    async def stop(self) -> None:
        """Stop claiming; a read that waits on the server is ended there."""
        self._stopping = True
        self._slots.close()
        try:
            if self._link.is_connected:
                client = self._link.client_id
                await self._commands.call("CLIENT", "UNBLOCK", client, "ERROR", timeout=1.0)
                return
        except (ConnectionFailed, ServerRefused):
            logger.debug("the server cannot end the read")
        await self._link.close()  # what it may have claimed comes back after its lease

    async def create_groups(self) -> None:
        """Make sure that the group of each lane exists, from the stream's beginning."""
        for lane in self._queue.lanes:
            try:
                await self._link.call("XGROUP", "CREATE", lane.stream, lane.group, "0", "MKSTREAM")
            except OutOfMemory:
                # Said before the server looks whether the group exists; workers that empty the
                # queue are just what such a server needs.
                if not await self._has_group(lane):
                    raise
            except ServerRefused as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise

    async def _has_group(self, lane: Lane) -> bool:
        try:
            groups = await self._link.call("XINFO", "GROUPS", lane.stream)
        except ServerRefused:  # no such stream
            return False
        return any(group[b"name"] == lane.group.encode() for group in groups)

    async def _drain(self) -> None:
        """Claim until nothing waits.

        Two claims take turns, each for half of the slots: while the tasks of one run here, the
        server stores the outcomes of the other and claims anew.
        """
        replies = await asyncio.gather(
            self._claim_until_empty(), self._claim_until_empty(), return_exceptions=True
        )
        for reply in replies:
            if isinstance(reply, BaseException):
                raise reply

    async def _claim_until_empty(self) -> None:
        most = max(1, (self._slots.capacity + 1) // 2)
        while not (self._stopping or self._must_sweep):
            count = min(self._slots.free, most)
            if count <= 0:
                await self._slots.wait_free()
            else:
                try:
                    with self._slots.reserve(count):
                        claimed = await self.claim(count)
                except BaseException:
                    self._must_sweep = True  # it may have claimed all the same
                    raise
                if claimed < count:
                    return

    async def claim(self, count: int) -> int:
        """Take up to `count` of the tasks that wait, and return how many that were.

        They begin as a batch of their own. Replies often come together; were their tasks begun
        together, they would end together as well, and the server would idle while they run,
        the worker while outcomes are stored.
        """
        batch = await self._claim(count)
        async with self._turn:
            claimed = self._begin_batch(batch)
            await asyncio.sleep(0)  # they run, and the short ones end
        return claimed

    async def _claim(self, count: int) -> Batch:
        if self._only_lane:
            return await self._claim_only(self._only_lane, count)
        return await self._claim_by_lanes(count)

    def _begin_batch(self, batch: Batch) -> int:
        now_ms, lanes = batch
        for number, entries in lanes:
            for entry_id, fields in entries:
                self._begin(number, entry_id, 1, fields, now_ms)
        return sum(len(entries) for _, entries in lanes)

    async def _claim_only(self, number: int, count: int) -> Batch:
        """Read the only lane that has tasks: a plain read costs the server half of a script.

        The lengths of the others tell, in the same round trip, when that has changed.
        """
        call, lane = self._link.call, self._queue.lanes[number - 1]
        reply = call(
            "XREADGROUP", "GROUP", lane.group, self._consumer, "COUNT", count,
            "STREAMS", lane.stream, ">", idempotent=False,
        )  # fmt: skip
        time = call("TIME")
        lengths = [call("XLEN", s) for s in self._queue.streams if s != lane.stream]
        entries = (await reply or {}).get(lane.stream.encode(), ())
        seconds, microseconds = await time
        now_ms = int(seconds) * 1000 + int(microseconds) // 1000
        for length in lengths:
            if await length:
                self._only_lane = 0
        return now_ms, [(number, entries)]

    async def _claim_by_lanes(self, count: int) -> Batch:
        lanes = self._queue.lanes
        shares = [min(int(credit), count) for credit in self._credit]
        args: list[Any] = [self._consumer, count]
        for lane, share in zip(lanes, shares, strict=True):
            args += (lane.group, share)
        # Sent once only: a claim whose reply is lost has claimed, and is found by a sweep.
        reply = await self._scripts.run(CLAIM, self._queue.streams, args, idempotent=False)
        taken = [0] * len(lanes)
        for lane_number, entries in reply[1:]:
            taken[lane_number - 1] += len(entries)
        total = sum(taken)
        self._only_lane = taken.index(total) + 1 if total and total in taken else 0
        for i, lane in enumerate(lanes):
            short = taken[i] < shares[i] or not total
            self._credit[i] = 0.0 if short else self._credit[i] - shares[i] + lane.share * total
        return reply[0], reply[1:]

    async def wait(self) -> bool:
        """Wait on the server for tasks, and return whether more of them may be waiting.

        Two are asked for where slots allow it: when one comes, it was the only one, so that
        a task that finds an idle worker costs one read and no claim.
        """
        count = 2 if self._slots.free >= 2 * len(self._queue.lanes) else 1
        reply = await self._link.call(
            "XREADGROUP",
            "GROUP",
            self._queue.group,
            self._consumer,
            "COUNT",
            count,
            "BLOCK",
            self._block_ms,
            "STREAMS",
            *self._queue.streams,
            *(">" for _ in self._queue.lanes),
            idempotent=False,
            timeout=self._block_ms / 1000 + 10.0,
        )
        came = [
            (number, (reply or {}).get(lane.stream.encode(), []))
            for number, lane in enumerate(self._queue.lanes, 1)
        ]
        self._begin_batch((0, came))
        # They run, and outcomes go out, before the server is busy with the next read.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return any(len(entries) == count for _, entries in came)

    async def sweep(self) -> int:
        """Start tasks that were claimed for this worker but whose reply was lost.

        Returns:
            The number of tasks found.
        """
        found = 0
        for number, lane in enumerate(self._queue.lanes, 1):
            found += await self._sweep_lane(number, lane)
        self._must_sweep = False
        if found:
            logger.info("queue %s: %d tasks had been claimed unheard", self._queue.name, found)
        return found

    async def _sweep_lane(self, number: int, lane: Lane) -> int:
        most = self._slots.capacity * 2
        call = self._link.call
        # Noted before asking: an attempt that ends while we ask was not unheard.
        known = self._held.entries(number)
        pending = await call("XPENDING", lane.stream, lane.group, "-", "+", most, self._consumer)
        known |= self._held.entries(number)
        unheard = [(entry, count) for entry, _, _, count in pending if entry not in known]
        # XRANGE, as reading one's pending entries by XREADGROUP raises their delivery counts,
        # which are part of the fencing tokens.
        pages = await asyncio.gather(
            *(call("XRANGE", lane.stream, entry, entry) for entry, _ in unheard)
        )
        found = 0
        for (entry, deliveries), page in zip(unheard, pages, strict=True):
            if not page:  # somebody deleted the entry while it was pending
                await call("XACK", lane.stream, lane.group, entry)
            else:
                self._begin(number, entry, deliveries, page[0][1], 0)
                found += 1
        return found

    def _begin(
        self, lane_number: int, entry_id: bytes, deliveries: int, fields: list[bytes], now_ms: int
    ) -> None:
        attempt = Attempt(self._queue, lane_number, entry_id, deliveries, fields)
        self._start(attempt, now_ms)

    def _note_loss(self) -> None:
        self._must_sweep = True

    async def _repair(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do something that must succeed before reading makes sense."""
        while not self._stopping:
            try:
                await work()
                return
            except ConnectionFailed:
                continue
            except NotOpen:
                return
            except (AuthenticationFailed, ServerRefused):
                logger.exception("queue %s: cannot make its group", self._queue.name)
                await asyncio.sleep(1.0)
