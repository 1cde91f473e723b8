"""Waker: queues tasks that limits hold back, once there is room for them."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from castwork.model.dice import dice
from castwork.model.errors import ServerError
from castwork.store.admissions import Admissions, Healing
from castwork.worker.turns import every


class Waker:
    """Looks when the server has planned a look, as when a rate has room again.

    Who ends wakes those who wait for the place at once, without this role. Every worker looks: each
    task is queued once. Now and then the places are looked at, too: those that lost workers had are
    given back.

    It begins at once where limits are declared, else when a task with a limit or a line comes, or
    where one is held back a quarter of a lease behind the start: other queues are not looked at.

    Args:
        admissions: the limits on the server.
        queue: the queue's name.
        interval: seconds between looks when none is planned sooner.
        lease: seconds that a lease lasts.
    """

    def __init__(
        self, admissions: Admissions, queue: str, *, interval: float, lease: float
    ) -> None:
        self._admissions = admissions
        self._queue = queue
        self._interval = interval
        self._lease = lease
        self._healing = Healing()
        self._heals_at = 0.0
        self._looks_at = 0.0
        self._sooner = asyncio.Event()
        self._begun = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def begin(self) -> None:
        """Look from now on."""
        self._begun.set()

    def plan(self, wait: float | None) -> None:
        """Look in so many seconds, if no look comes sooner."""
        if wait is not None and self._loop.time() + wait < self._looks_at:
            self._sooner.set()

    async def run(self) -> None:
        """Look until cancelled."""
        await self._wait(self._begun, self._lease / 4)
        if not (self._begun.is_set() or await self._are_some_held()):
            await self._begun.wait()
        what = f"queue {self._queue}: what limits hold back was not looked at"
        await every(self._pass, what, patience=self._interval, sleep=self._sleep)

    async def _are_some_held(self) -> bool:
        try:
            return await self._admissions.are_some_held()
        except ServerError:
            return True  # then looking tells

    async def _pass(self) -> float:
        if self._loop.time() >= self._heals_at:
            await self.heal()
            self._heals_at = self._loop.time() + self._lease * dice.uniform(0.15, 0.35)
        wait = await self.wake()
        interval = self._interval * dice.uniform(0.8, 1.2)
        return interval if wait is None else min(interval, wait + 0.001)

    async def wake(self) -> float | None:
        """Queue what has room now; return the seconds until the next planned look, if any is."""
        return await self._admissions.wake()

    async def heal(self) -> None:
        """Give back the places of some attempts that are gone."""
        self._healing = await self._admissions.heal(self._healing)

    async def _sleep(self, seconds: float) -> None:
        self._looks_at = self._loop.time() + seconds
        self._sooner.clear()
        await self._wait(self._sooner, seconds)

    async def _wait(self, event: asyncio.Event, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()
