"""Bulk: sends many tasks in groups, a few at a time, and knows of each group what became of it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from castwork.tasks.gatherer import MOST, MOST_BYTES

T = TypeVar("T")

#: Groups under way: enough to keep the server busy, and few enough that each is answered in time.
_UNDER_WAY = 8


def group(calls: Sequence[bytes]) -> list[list[bytes]]:
    """Calls in groups of bounded count and bytes, in order."""
    groups: list[list[bytes]] = []
    room = 0
    for call in calls:
        room -= len(call)
        if room < 0 or len(groups[-1]) >= MOST:
            groups.append([])
            room = MOST_BYTES - len(call)
        groups[-1].append(call)
    return groups


async def send_groups(
    groups: Sequence[list[bytes]], send: Callable[[list[bytes]], Awaitable[list[T]]]
) -> list[list[T] | BaseException | None]:
    """Send groups in order, until one fails.

    Args:
        groups: the groups.
        send: sends one; the time that it may take begins when it is called.

    Returns:
        Per group the answer, or the error; None for groups that were not sent.

    Raises:
        asyncio.CancelledError: the caller was cancelled; groups under way may be accepted.
    """
    answers: list[list[T] | BaseException | None] = [None] * len(groups)
    under_way: deque[tuple[int, asyncio.Task[list[T]]]] = deque()
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
