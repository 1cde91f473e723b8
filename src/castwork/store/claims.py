"""Claims: how a worker gets waiting tasks, and tasks that lost workers left."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from castwork.model.errors import OutOfMemory, ServerRefused
from castwork.redis.replies import NoGroup
from castwork.store.place import QueuePlace
from castwork.store.scripts import ABANDON, CLAIM, RECOVER, RETIRE, UNWANTED

#: Milliseconds after which an idle worker without tasks is forgotten.
_FORGET_AFTER_MS = 3_600_000

#: An entry as it lies in a stream: its id, and the names and values of its fields in turn.
RawEntry = tuple[bytes, list[bytes]]


class Batch(NamedTuple):
    """What a claim brought.

    Attributes:
        now_ms: the server's time at the claim, 0 if unknown.
        lanes: per lane that had any, the lane's position in the queue and the entries.
        filled: whether a blocking read brought as many entries as it may from one lane, so that
            more may be waiting there.
    """

    now_ms: int
    lanes: list[tuple[int, Sequence[RawEntry]]]
    filled: bool = False


class Left(NamedTuple):
    """An entry that was delivered before: its id, fields, and deliveries so far."""

    entry_id: bytes
    fields: list[bytes]
    deliveries: int


class Recovered(NamedTuple):
    """What a look for expired leases brought.

    Attributes:
        now_ms: the server's time.
        cursor: where the next look goes on.
        suspects: entries seen that two workers or more were lost with, and that were left there.
        left: the entries; their deliveries include the present one.
    """

    now_ms: int
    cursor: str
    suspects: int
    left: list[Left]


class Claims:
    """Takes tasks of one queue for one worker.

    Args:
        place: the queue.
        worker_id: the worker's unique id, under which the server notes what the worker holds.
    """

    def __init__(self, place: QueuePlace, worker_id: str) -> None:
        self._place = place
        self._worker_id = worker_id
        self._group = place.queue.group
        self._lanes = place.keys.lanes
        self._retire_cursor = "0"

    async def create_groups(self) -> None:
        """Make sure that the group of each lane exists, from the stream's beginning.

        Raises:
            ConnectionFailed, ServerRefused: as `Link.call`.
        """
        for stream in self._lanes:
            try:
                await self._place.call("XGROUP", "CREATE", stream, self._group, "0", "MKSTREAM")
            except OutOfMemory:
                # A full server refuses before it looks whether the group exists. Where the group
                # does, the worker goes on: emptying queues is what such a server needs.
                if not await self._has_group(stream):
                    raise
            except ServerRefused as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise

    async def _has_group(self, stream: str) -> bool:
        try:
            groups = await self._place.call("XINFO", "GROUPS", stream)
        except ServerRefused:  # no such stream
            return False
        return any(group[b"name"] == self._group.encode() for group in groups)

    async def claim(self, count: int, shares: Sequence[int]) -> Batch:
        """Take up to `count` waiting tasks, urgent lanes first.

        A claim whose reply is lost has claimed all the same: `pending` finds those tasks.

        Args:
            count: tasks at most.
            shares: per lane the entries that the lane is sure of.

        Raises:
            NoGroup: a group is gone.
            EffectUnknown: the reply was lost.
        """
        args = [self._worker_id, self._group, count, *shares]
        now_ms, *lanes = await self._place.run(CLAIM, self._lanes, args)
        return Batch(now_ms, [(number - 1, entries) for number, entries in lanes])

    async def claim_from(self, lane: int, count: int) -> tuple[Batch, bool]:
        """Take up to `count` waiting tasks of one lane, at half the cost of `claim`.

        Returns:
            The batch, and whether other lanes hold anything, all in one round trip.

        Raises:
            NoGroup, EffectUnknown: as `claim`.
        """
        stream = self._lanes[lane]
        link = await self._place.link()
        read = link.call(
            "XREADGROUP", "GROUP", self._group, self._worker_id, "COUNT", count,
            "STREAMS", stream, ">", idempotent=False,
        )  # fmt: skip
        # The replies are awaited one after the other: gathering them would cost more than all the
        # rest of a claim.
        following = [link.call("TIME")]
        following += [link.call("XLEN", other) for other in self._lanes if other != stream]
        try:
            reply = await read
            seconds, microseconds = await following[0]
            others = [await length for length in following[1:]]
        except BaseException:
            for call in following:
                call.cancel()
            raise
        entries = (reply or {}).get(stream.encode(), ())
        now_ms = int(seconds) * 1000 + int(microseconds) // 1000
        return Batch(now_ms, [(lane, entries)]), any(others)

    async def now_ms(self) -> int:
        """The server's time."""
        seconds, microseconds = await self._place.call("TIME")
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def pending(self, lane: int, most: int) -> list[tuple[bytes, int]]:
        """The entries that are pending for this worker: their ids and their deliveries."""
        listing = await self._place.call(
            "XPENDING", self._lanes[lane], self._group, "-", "+", most, self._worker_id
        )
        return [(entry, deliveries) for entry, _, _, deliveries in listing]

    async def read_pending(self, lane: int, pending: Sequence[tuple[bytes, int]]) -> list[Left]:
        """Read entries that are pending for this worker.

        XRANGE reads them, as XREADGROUP would raise the delivery counts, a part of fencing tokens.
        An entry that was deleted meanwhile is acknowledged and left out.
        """
        stream, call = self._lanes[lane], self._place.call
        pages = await asyncio.gather(*(call("XRANGE", stream, e, e) for e, _ in pending))
        found = []
        for (entry_id, deliveries), page in zip(pending, pages, strict=True):
            if page:
                found.append(Left(entry_id, page[0][1], deliveries))
            else:
                await call("XACK", stream, self._group, entry_id)
        return found

    async def recover(
        self, lane: int, *, lease_ms: int, cursor: str, count: int, suspect: bool = False
    ) -> Recovered:
        """Take over up to `count` entries of a lane whose lease has run out.

        Entries that two workers or more were lost with are left, for a worker that runs nothing
        else; one that no such worker took for twelve leases is taken like the others. What another
        program's consumer holds of an adopted stream is taken after the queue's `foreign_lease`.

        When the reply is lost the entries stay claimed for this worker: `pending` finds them.

        Args:
            lane: position of the lane.
            lease_ms: milliseconds that a lease lasts.
            cursor: where the look begins.
            count: entries at most.
            suspect: take one of the suspects, and nothing else.
        """
        keys = [self._lanes[lane], self._place.keys.robbed]
        queue = self._place.queue
        is_foreign = queue.lanes[lane].name == "stream"
        foreign_ms = int(queue.foreign_lease * 1000) if is_foreign else lease_ms
        args = [self._group, self._worker_id, lease_ms, cursor, count, int(suspect), foreign_ms]
        now_ms, following, suspects, *found = await self._place.run(RECOVER, keys, args)
        return Recovered(now_ms, following.decode(), suspects, [Left(*one) for one in found])

    async def abandon(self, *, lease_ms: int) -> int:
        """End the leases of this worker, whose process is gone; return how many it had.

        A lane without a group, as no worker has served its queue yet, has none of them.

        Args:
            lease_ms: milliseconds that a lease lasts.
        """
        args = [self._group, self._worker_id, lease_ms]
        held = 0
        for lane in self._lanes:
            with suppress(NoGroup):
                held += int(await self._place.run(ABANDON, [lane], args))
        return held

    async def unwanted(self) -> set[str]:
        """Ids of tasks that were cancelled while they waited in a stream that others read too.

        Forgets those that the group has done with. Where castwork deletes entries there are none.
        """
        if not self._place.queue.notes_cancels:
            return set()
        names = [self._place.keys.unwanted, self._lanes[-1]]
        return {
            task_id.decode() for task_id in await self._place.run(UNWANTED, names, [self._group])
        }

    async def retire(self, worker_id: str = "") -> int:
        """Forget a worker that leaves, and what nothing has needed for an hour.

        Workers are forgotten that were idle and hold nothing, notes of entries taken from workers,
        and answers to producers.

        Returns:
            How many workers were forgotten, counted per lane.
        """
        keys = self._place.keys
        args: list[Any] = [self._group, worker_id, _FORGET_AFTER_MS, self._retire_cursor]
        names = [keys.robbed, keys.sent, *self._lanes]
        forgotten, cursor = await self._place.run(RETIRE, names, args)
        self._retire_cursor = cursor.decode()
        return int(forgotten)
