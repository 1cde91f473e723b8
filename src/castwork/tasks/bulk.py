"""Bulk: sends many tasks in groups, a few at a time, and knows of each group what became of it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from castwork.tasks.gatherer import MOST, MOST_BYTES

T = TypeVar("T")
R = TypeVar("R")

#: Groups under way: enough to keep the server busy, and few enough that each is answered in time.
_UNDER_WAY = 8


def group(sizes: Sequence[int]) -> list[slice]:
    """Items in groups of bounded count and bytes, in order, as slices.

    Args:
        sizes: bytes of each item.
    """
    groups: list[slice] = []
    begin, room = 0, MOST_BYTES
    for number, size in enumerate(sizes):
        room -= size
        if number > begin and (room < 0 or number - begin == MOST):
            groups.append(slice(begin, number))
            begin, room = number, MOST_BYTES - size
    if sizes:
        groups.append(slice(begin, len(sizes)))
    return groups


async def send_groups(
    groups: Sequence[T], send: Callable[[T], Awaitable[list[R]]]
) -> list[list[R] | BaseException | None]:
    """Send groups in order, until one fails.

    Args:
        groups: the groups.
        send: sends one; the time that it may take begins when it is called.

    Returns:
        Per group the answer, or the error; None for groups that were not sent.

    Raises:
        asyncio.CancelledError: the caller was cancelled; groups under way may be accepted.
    """
    answers: list[list[R] | BaseException | None] = [None] * len(groups)
    under_way: deque[tuple[int, asyncio.Task[list[R]]]] = deque()
    has_failed = False

    async def settle() -> None:
        nonlocal has_failed
        number, task = under_way.popleft()
        [answers[number]] = await asyncio.gather(task, return_exceptions=True)
        has_failed = has_failed or task.cancelled() or task.exception() is not None

    try:
        for number, one in enumerate(groups):
            if len(under_way) == _UNDER_WAY:
                await settle()
            if has_failed:
                break
            under_way.append((number, asyncio.ensure_future(send(one))))
        while under_way:
            await settle()
    finally:
        for _, task in under_way:
            task.cancel()
    return answers
