from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from castwork.tasks.slots import Slots


@given(steps=st.lists(st.sampled_from(["take", "done", "settle"]), max_size=200))
def test_claiming_what_is_free_keeps_both_bounds(steps: list[str]) -> None:
    slots = Slots(4)
    for step in steps:
        if step == "take" and slots.free > 0:
            slots.take()
        elif step == "done" and slots.running:
            slots.done()
        elif step == "settle" and slots.held > slots.running:
            slots.settle()

        assert 0 <= slots.running <= 4
        assert slots.held <= 8


async def test_waiting_ends_when_a_slot_is_free() -> None:
    slots = Slots(1)
    slots.take()
    waiting = asyncio.create_task(slots.wait_free())
    await asyncio.sleep(0)
    assert not waiting.done()

    slots.done()

    await asyncio.wait_for(waiting, 1)


async def test_outcomes_that_are_not_stored_stop_claiming() -> None:
    slots = Slots(2)
    for _ in range(4):
        slots.take()
        slots.done()

    assert slots.free == 0
    slots.settle()
    assert slots.free == 1
