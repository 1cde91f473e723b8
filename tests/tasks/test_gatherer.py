"""What is asked for in one loop tick goes out in one call, and each caller gets its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from castwork.tasks.gatherer import MOST, MOST_BYTES, Gatherer


class Line:
    """Sends groups when it is let, and doubles each item."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.open = asyncio.Event()
        self.error: Exception | None = None
        self.gatherer: Gatherer[int, int] = Gatherer(self._send)

    async def _send(self, items: Sequence[int]) -> Sequence[int]:
        self.groups.append(list(items))
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return [2 * item for item in items]

    def add(self, item: int, size: int = 1) -> asyncio.Task[int]:
        return asyncio.create_task(self.gatherer.add(item, size))


async def turns(count: int = 4) -> None:
    """Let everything run that does not wait for anything."""
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture
async def line() -> Line:
    return Line()


async def test_lone_item_goes_out_at_once(line: Line) -> None:
    line.open.set()
    for item in (1, 2):
        assert await line.gatherer.add(item, 1) == 2 * item
    assert line.groups == [[1], [2]]


async def test_items_of_one_tick_share_a_call_behind_the_first(line: Line) -> None:
    answers = [line.add(item) for item in range(5)]
    await turns()
    assert line.groups == [[0], [1, 2, 3, 4]]
    line.open.set()
    assert await asyncio.gather(*answers) == [0, 2, 4, 6, 8]


async def test_items_of_a_later_tick_do_not_wait_for_the_call_that_is_under_way(
    line: Line,
) -> None:
    answers = []
    for item in range(3):
        answers.append(line.add(item))
        await turns()
    assert line.groups == [[0], [1], [2]]
    line.open.set()
    assert await asyncio.gather(*answers) == [0, 2, 4]


async def test_lone_item_goes_out_at_once_again_when_nothing_is_under_way(line: Line) -> None:
    answers = [line.add(item) for item in range(3)]
    await turns()
    line.open.set()
    await asyncio.gather(*answers)
    line.groups.clear()
    again = asyncio.create_task(line.gatherer.add(7, 1))
    await asyncio.sleep(0)
    assert line.groups == [[7]], "not at the end of the tick"
    assert await again == 14


async def test_caller_that_leaves_does_not_take_the_group_along(line: Line) -> None:
    answers = [line.add(item) for item in range(4)]
    await turns()
    answers[0].cancel()
    answers[2].cancel()
    await turns()
    line.open.set()
    outcomes = await asyncio.gather(*answers, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [
        asyncio.CancelledError,
        int,
        asyncio.CancelledError,
        int,
    ]
    assert outcomes[1::2] == [2, 6]


async def test_group_goes_out_though_all_its_callers_have_left(line: Line) -> None:
    answers = [line.add(item) for item in range(3)]
    await asyncio.sleep(0)
    for answer in answers:
        answer.cancel()
    await turns()
    assert line.groups == [[0], [1, 2]]
    line.error = ValueError("nobody hears this")
    line.open.set()
    await turns()


async def test_error_reaches_all_of_the_group_and_nobody_else(line: Line) -> None:
    answers = [line.add(item) for item in range(3)]
    await turns()
    line.error = ValueError("no")
    line.open.set()
    outcomes = await asyncio.gather(*answers, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["no"] * 3
    line.error = None
    assert await line.gatherer.add(5, 1) == 10


async def test_group_is_bounded_by_its_count(line: Line) -> None:
    answers = [line.add(item) for item in range(1 + 2 * MOST + 3)]
    await turns()
    line.open.set()
    assert await asyncio.gather(*answers) == [2 * n for n in range(len(answers))]
    assert [len(group) for group in line.groups] == [1, MOST, MOST, 3]


async def test_group_is_bounded_by_its_bytes(line: Line) -> None:
    size = MOST_BYTES // 3 + 1
    answers = [line.add(item, size) for item in range(8)]
    await turns()
    line.open.set()
    assert await asyncio.gather(*answers) == [2 * n for n in range(8)]
    assert [len(group) for group in line.groups] == [1, 3, 3, 1]


def test_group_that_an_ended_loop_left_behind_is_not_joined() -> None:
    line = Line()

    async def leave() -> None:
        for item in range(2):
            line.add(item)
        await asyncio.sleep(0)
        asyncio.get_running_loop().stop()  # before the second item's group goes out

    loop = asyncio.new_event_loop()
    left = loop.create_task(leave())
    loop.run_forever()
    pending = asyncio.all_tasks(loop)
    assert pending

    async def add() -> list[int]:
        line.open = asyncio.Event()
        line.open.set()
        return await asyncio.wait_for(asyncio.gather(line.add(7), line.add(8)), 5)

    assert asyncio.run(add()) == [14, 16]
    assert left.done()
    for task in pending:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
    loop.close()
