"""BlockingReads: waits on the server for tasks of several queues in one read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from castwork.model.errors import ServerError
from castwork.redis.link import Link
from castwork.store.claims import Batch, RawEntry
from castwork.store.place import QueuePlace


class BlockingReads:
    """Blocking reads of one worker, one at a time, over a link of their own.

    Do not cancel a read: a cancelled read may already have claimed. `unblock` ends a read on the
    server.

    Args:
        link: a dedicated link.
        worker_id: the worker's unique id.
    """

    def __init__(self, link: Link, worker_id: str) -> None:
        self.link = link
        self._worker_id = worker_id
        self._under_way = False

    async def read(self, places: Sequence[QueuePlace], *, count: int, block: float) -> list[Batch]:
        """Wait for tasks of some queues of one group, up to `count` from each lane.

        Args:
            places: the queues; all of one group, and of one slot where the server asks for that.
            count: entries per lane at most.
            block: seconds to wait.

        Returns:
            What came, per queue.

        Raises:
            NoGroup: the group of a lane is gone.
            Unblocked: the read was ended by `unblock`.
            EffectUnknown: the reply was lost; tasks may have been claimed.
        """
        streams = [stream for place in places for stream in place.keys.lanes]
        self._under_way = True
        try:
            reply = await self.link.call(
                "XREADGROUP", "GROUP", places[0].queue.group, self._worker_id, "COUNT", count,
                "BLOCK", int(block * 1000), "STREAMS", *streams, *(">" for _ in streams),
                idempotent=False, timeout=block + 10.0,
            )  # fmt: skip
        finally:
            self._under_way = False
        came = reply or {}
        return [_batch_of(place, came, count) for place in places]

    async def unblock(self, place: QueuePlace) -> bool:
        """End the read that waits on the server; False if the server cannot be told.

        Args:
            place: a queue of the read, to reach the server that the read waits on.
        """
        while self.link.is_connected:
            unblock = "CLIENT", "UNBLOCK", self.link.client_id, "ERROR"
            try:
                ended = await place.call(*unblock, timeout=1.0)
            except ServerError:  # not permitted, say
                return False
            # The read goes by another connection: perhaps the server has not seen the read yet.
            if ended or not self._under_way:
                return True
        return False


def _batch_of(place: QueuePlace, came: Mapping[bytes, Sequence[RawEntry]], count: int) -> Batch:
    """What a read of up to `count` entries per lane brought for one queue."""
    names = [stream.encode() for stream in place.keys.lanes]
    lanes = [(lane, came[name]) for lane, name in enumerate(names) if name in came]
    return Batch(0, lanes, any(len(entries) >= count > 1 for _, entries in lanes))
