"""Workload: how many tasks a worker may claim, and which it holds."""

from __future__ import annotations

import asyncio
import itertools

from hypothesis import given
from hypothesis import strategies as st

from castwork import App
from castwork.worker.attempt import Attempt, Ending
from castwork.worker.workload import Workload


def workload_of(capacity: int) -> Workload:
    app = App("redis://nowhere")

    @app.task(queue="q")
    async def work() -> None: ...

    [store] = app.tasks.stores()
    return Workload(store, "alice", capacity)


class Played:
    """A workload, with attempts that come, end and are stored."""

    def __init__(self, capacity: int) -> None:
        self.workload = workload_of(capacity)
        self.ended: list[Attempt] = []
        self.running: list[Attempt] = []
        self._numbers = itertools.count()

    def take(self) -> None:
        workload = self.workload
        attempt = Attempt(workload.origins[1], b"1-%d" % next(self._numbers), 1, [])
        assert workload.add(attempt)
        workload.running += 1
        self.running.append(attempt)

    def end(self) -> None:
        self.workload.running -= 1
        self.workload.signal()
        self.ended.append(self.running.pop(0))

    def store(self) -> None:
        self.workload.discard(self.ended.pop(0))


@given(steps=st.lists(st.sampled_from(["take", "end", "store", "reserve"]), max_size=200))
def test_claiming_what_is_free_keeps_both_bounds(steps: list[str]) -> None:
    async def play() -> None:
        played = Played(4)
        workload = played.workload
        for step in steps:
            if step == "take" and workload.free > 0:
                played.take()
            elif step == "reserve" and workload.free > 0:
                before = workload.free
                with workload.reserve(before):
                    assert workload.free == 0
                assert workload.free == before
            elif step == "end" and played.running:
                played.end()
            elif step == "store" and played.ended:
                played.store()

            assert 0 <= workload.running <= 4
            assert len(workload) <= 8

    asyncio.run(play())


async def test_waiting_ends_when_a_slot_is_free() -> None:
    played = Played(1)
    played.take()
    waiting = asyncio.create_task(played.workload.wait_free())
    await asyncio.sleep(0)
    assert not waiting.done()

    played.end()
    await asyncio.wait_for(waiting, 1)


async def test_waiting_ends_when_nothing_is_claimed_any_more() -> None:
    played = Played(1)
    played.take()
    waiting = asyncio.create_task(played.workload.wait_free())
    await asyncio.sleep(0)

    played.workload.close()
    await asyncio.wait_for(waiting, 1)


async def test_outcomes_that_are_not_stored_stop_claiming() -> None:
    played = Played(2)
    for _ in range(4):
        played.take()
        played.end()

    assert played.workload.free == 0
    played.store()
    assert played.workload.free == 1


async def test_a_later_delivery_of_an_entry_ends_the_earlier_one() -> None:
    workload = workload_of(4)
    first, second = (Attempt(workload.origins[0], b"1-1", n, []) for n in (1, 2))

    assert workload.add(first)
    assert not workload.add(Attempt(workload.origins[0], b"1-1", 1, []))
    assert workload.add(second)
    assert (first.ended_by, second.ended_by) == (Ending.LOST, Ending.NOT)
    workload.discard(first)  # late: it is not what is held any more
    assert workload.attempts == [second]


async def test_a_task_is_found_by_its_id() -> None:
    workload = workload_of(4)
    attempt = Attempt(workload.origins[2], b"1-1", 1, [])
    attempt.task_id = "q:mine"
    workload.add(attempt)

    assert workload.find("q:mine") is attempt
    assert workload.find("q:other") is None


async def test_a_turn_that_is_given_up_gives_back_no_slot() -> None:
    workload = workload_of(1)
    workload.running = 1
    waiting = asyncio.create_task(workload.lending.slot())
    await asyncio.sleep(0)
    waiting.cancel()
    workload.running -= 1  # the task that had the slot ends in the same turn of the loop
    workload.lending.settle()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    assert workload.running == 0

    workload.running = 1
    waiting = asyncio.create_task(workload.lending.slot())
    await asyncio.sleep(0)
    workload.running -= 1
    workload.lending.settle()
    waiting.cancel()  # now the slot is taken for it already
    await asyncio.wait({waiting})
    assert workload.running == 0
