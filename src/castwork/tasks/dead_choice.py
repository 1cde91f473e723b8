"""Choosing dead letters by function and error, and doing something to each of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from castwork.model.errors import TaskNotFound, UndecodableEntry
from castwork.model.option_values import above_zero
from castwork.model.position import Position

if TYPE_CHECKING:
    from castwork.tasks.dead_letters import DeadLetter, DeadLetters

#: Letters that are handled at once.
_TOGETHER = 20

#: Groups that are told apart; what is beyond them is counted together.
_GROUPS = 1000


class DeadGroup(msgspec.Struct, frozen=True):
    """Dead letters of one task function that died of one kind of error.

    Attributes:
        task: name of the task function; empty where it is not known.
        error: the type of the last error, as `TimeoutError`.
        count: how many there are.
        newest: id of the newest of them: what comes later is left out by `until`.
    """

    task: str
    error: str
    count: int
    newest: str


class DeadChoice(msgspec.Struct, frozen=True):
    """Which dead letters are meant; all of them where nothing is said.

    Args:
        function: name of the task function.
        error: type of the last error.
        until: id of a dead letter: this one and older ones.
    """

    function: str | None = None
    error: str | None = None
    until: str | None = None

    def __post_init__(self) -> None:
        if self.until is not None:
            Position.parse(self.until)

    def has(self, letter: DeadLetter) -> bool:
        """Whether a letter is meant."""
        if self.function is not None and letter.task != self.function:
            return False
        if self.error is not None and error_of(letter) != self.error:
            return False
        return self.until is None or Position.parse(letter.id) <= Position.parse(self.until)


def error_of(letter: DeadLetter) -> str:
    """The type of a dead letter's last error; empty where none is told."""
    last = letter.errors[-1] if letter.errors else None
    return str(last.get("type", "")) if isinstance(last, dict) else ""


async def count_groups(letters: DeadLetters) -> list[DeadGroup]:
    """The groups of a queue's dead letters, the largest first."""
    counts: dict[tuple[str, str], list[Any]] = {}
    async for page in letters.pages():
        for letter in page:
            name = (letter.task, error_of(letter))
            if name not in counts and len(counts) >= _GROUPS:
                name = ("", "")
            counts.setdefault(name, [0, letter.id])[0] += 1
    groups = [
        DeadGroup(task, error, count, newest) for (task, error), (count, newest) in counts.items()
    ]
    return sorted(groups, key=lambda group: -group.count)


async def for_each(
    letters: DeadLetters,
    choice: DeadChoice,
    action: Callable[[str], Awaitable[Any]],
    pace: float | None = None,
) -> AsyncIterator[tuple[str, str]]:
    """Do something to each dead letter that is meant and there now; those that come later stay.

    Args:
        letters: the dead letters of a queue.
        choice: which of them.
        action: what is done, given the id of one.
        pace: letters per second at most; None for no bound.

    Yields:
        Per letter its id, and why nothing could be done to it; empty where it is done.
    """
    if pace is not None:
        pace = above_zero("pace", pace, "letters per second")
    together = _TOGETHER if pace is None else max(1, min(_TOGETHER, int(pace / 10)))
    begun, count = time.monotonic(), 0
    async for page in letters.pages():
        meant = iter([one for one in page if choice.has(one)])
        while some := list(islice(meant, together)):
            if pace is not None:
                await asyncio.sleep(begun + count / pace - time.monotonic())
            count += len(some)
            for told in await _together(some, action):
                yield told


async def _together(
    some: Sequence[DeadLetter], action: Callable[[str], Awaitable[Any]]
) -> list[tuple[str, str]]:
    """Do something to some letters at once; raises what is no matter of one letter."""
    ends = await asyncio.gather(*(action(one.id) for one in some), return_exceptions=True)
    told = []
    for letter, end in zip(some, ends, strict=True):
        if isinstance(end, BaseException) and not isinstance(end, TaskNotFound | UndecodableEntry):
            raise end
        told.append((letter.id, str(end) if isinstance(end, BaseException) else ""))
    return told
