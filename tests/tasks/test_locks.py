"""Locks: one holder at a time in the fleet, whatever becomes of it."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
import redis
from tests.eventually import eventually, wait_until

from castwork import App, AppSettings, LockTimeout
from castwork.model.errors import ConnectionFailed, EffectUnknown, LeaseLost, NotOpen
from castwork.redis.thread_link import ThreadLink
from castwork.store.keys import LockKeys
from castwork.store.locks import Locks, Taken
from castwork.tasks.lock import Lock


@pytest.fixture
def other(server_url: str, namespace: str) -> App:
    return App(server_url, settings=AppSettings(namespace=namespace))


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("castwork.tasks.lock._LEASE", 0.6)
    monkeypatch.setattr("castwork.tasks.lock._RENEWAL", 0.1)


async def test_one_holder_at_a_time_and_fences_grow(app: App, other: App) -> None:
    holders, fences = 0, []

    async def hold(one: App) -> None:
        nonlocal holders
        async with one.lock("doc:{7}", timeout=20) as lock:
            holders += 1
            assert holders == 1
            fences.append(lock.fence)
            await asyncio.sleep(0.002)
            holders -= 1

    async with app, other:
        await asyncio.gather(*(hold(one) for one in (app, other) * 20))
    assert len(fences) == 40
    assert fences == sorted(set(fences))


@pytest.mark.parametrize(
    "spoilt",
    [
        {"holder": b"\xff"},
        {"holder": b"x", "until": b"soon"},
        {"holder": b"x", "until": b"9" * 400},
        {"fence": b"{"},
        {"fence": b"9" * 400},
    ],
)
async def test_a_lock_that_another_program_has_written_is_free(
    app: App, namespace: str, plain: redis.Redis, spoilt: dict[str, bytes]
) -> None:
    plain.hset(LockKeys(namespace, "a").lock, mapping=spoilt)  # type: ignore[arg-type]
    async with app, app.lock("a", timeout=0.05) as lock:
        assert 0 < lock.fence < 10**16


async def test_who_waits_is_told_and_who_waits_too_long_is_refused(
    app: App, other: App, namespace: str, plain: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("castwork.tasks.lock._LOOK", 60.0)  # who is not told waits for a lease
    channel = LockKeys(namespace, "a").lock
    async with app, other:
        async with app.lock("a"):
            with pytest.raises(LockTimeout, match="not free within 0.05 s"):
                async with other.lock("a", timeout=0.05):
                    pass
            async with other.lock("b", timeout=1):
                pass
            waiting = asyncio.create_task(_hold_once(other, "a"))
            await eventually(lambda: plain.pubsub_numsub(channel)[0][1])
        await asyncio.wait_for(waiting, 10)


async def _hold_once(app: App, name: str) -> None:
    async with app.lock(name):
        pass


async def test_threads_and_coroutines_share_it(app: App) -> None:
    inside = threading.Event()
    go = threading.Event()

    def hold() -> int:
        with app.lock("a", timeout=10) as lock:
            inside.set()
            go.wait(10)
            lock.check()
            return lock.fence

    async with app:
        thread = asyncio.create_task(asyncio.to_thread(hold))
        await asyncio.to_thread(inside.wait, 10)
        with pytest.raises(LockTimeout):
            async with app.lock("a", timeout=0.05):
                pass
        go.set()
        fence = await thread
        async with app.lock("a", timeout=10) as lock:
            assert lock.fence > fence
            with pytest.raises(NotOpen, match="held here already"):
                await lock.__aenter__()
    with pytest.raises(NotOpen, match="not held"):
        _ = app.lock("a").fence


@pytest.mark.usefixtures("short")
async def test_a_lock_is_kept_while_the_event_loop_is_blocked(app: App, other: App) -> None:
    async with app, other, app.lock("a"):
        time.sleep(1.5)  # noqa: ASYNC251 - as code that computes does
        with pytest.raises(LockTimeout):
            async with other.lock("a", timeout=0):
                pass


@pytest.mark.usefixtures("short")
async def test_a_holder_that_is_gone_frees_it_within_a_lease(
    app: App, namespace: str, plain: redis.Redis
) -> None:
    async with app:
        gone = Locks(app.connections, namespace, "a")
        assert (await gone.take("token", 300)).fence
        before = time.monotonic()
        async with app.lock("a", timeout=10):
            assert time.monotonic() - before > 0.2
    assert plain.exists(LockKeys(namespace, "a").lock) == 0


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("swallows", [True, False])
async def test_a_coroutine_that_loses_it_is_cancelled_and_told(
    app: App, namespace: str, plain: redis.Redis, swallows: bool
) -> None:
    async with app:
        with pytest.raises(LeaseLost, match="lock 'a' was lost"):
            async with app.lock("a"):
                plain.hset(LockKeys(namespace, "a").lock, "holder", "another")
                try:
                    await asyncio.sleep(30)
                except asyncio.CancelledError:
                    if not swallows:
                        raise
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0


@pytest.mark.usefixtures("short")
async def test_a_thread_that_loses_it_finds_out(
    app: App, namespace: str, plain: redis.Redis
) -> None:
    def hold() -> Any:
        with app.lock("a") as lock:
            plain.hset(LockKeys(namespace, "a").lock, "holder", "another")
            while True:
                lock.check()
                time.sleep(0.01)

    async with app:
        with pytest.raises(LeaseLost):
            await asyncio.to_thread(hold)


async def test_what_the_block_raises_comes_out_and_the_lock_is_free(app: App) -> None:
    async with app:
        with pytest.raises(ValueError, match="mine"):
            async with app.lock("a"):
                raise ValueError("mine")
        held = asyncio.Event()

        async def hold() -> None:
            async with app.lock("a"):
                held.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(hold())
        await held.wait()
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        async with app.lock("a", timeout=1):
            pass
        await eventually(
            lambda: not [t for t in threading.enumerate() if t.name == "castwork-lock"], within=10
        )


async def test_one_look_takes_a_lock_that_is_free_and_waits_for_no_other(
    app: App, other: App
) -> None:
    async with app, other:
        async with app.lock("a", timeout=0):
            with pytest.raises(LockTimeout, match="within 0 s"):
                async with other.lock("a", timeout=0):
                    pass
        async with other.lock("a", timeout=0):
            pass


async def test_who_is_cancelled_before_the_answer_comes_leaves_no_lock_behind(
    app: App, other: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, take = asyncio.Event(), Locks.take

    async def take_without_answer(locks: Locks, token: str, lease_ms: int) -> Taken:
        await take(locks, token, lease_ms)
        taken.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with app, other:
        monkeypatch.setattr(Locks, "take", take_without_answer)
        waiting = asyncio.create_task(_hold_once(app, "a"))
        await taken.wait()
        waiting.cancel()
        await asyncio.wait({waiting})
        monkeypatch.undo()
        assert waiting.cancelled()
        async with other.lock("a", timeout=0):
            pass


@pytest.mark.usefixtures("short")
async def test_a_block_that_ends_as_the_lock_is_lost_leaves_no_cancel_behind(
    app: App, namespace: str, plain: redis.Redis
) -> None:
    async with app:
        with pytest.raises(LeaseLost):
            async with app.lock("a") as lock:
                plain.hset(LockKeys(namespace, "a").lock, "holder", "another")
                wait_until(lambda: _is_lost(lock))  # the loop is blocked meanwhile
        for _ in range(3):
            await asyncio.sleep(0)


def _is_lost(lock: Lock) -> bool:
    try:
        lock.check()
    except LeaseLost:
        return True
    return False


async def test_a_cancel_from_elsewhere_stays_one_though_the_lock_is_lost(
    app: App, namespace: str, plain: redis.Redis
) -> None:
    held = asyncio.Event()

    async def hold() -> None:
        async with app.lock("a"):
            held.set()
            await asyncio.Event().wait()

    async with app:
        task = asyncio.create_task(hold())
        await held.wait()
        plain.hset(LockKeys(namespace, "a").lock, "holder", "another")
        task.cancel()
        await asyncio.wait({task})
    assert task.cancelled()


async def test_what_the_block_raises_goes_before_an_error_of_the_server(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_locks: Locks, _token: str) -> bool:
        raise ConnectionFailed("away")

    async with app:
        monkeypatch.setattr(Locks, "give_back", fail)
        with pytest.raises(ValueError, match="mine"):
            async with app.lock("a"):
                raise ValueError("mine")
        with pytest.raises(ConnectionFailed):
            async with app.lock("b"):
                pass


@pytest.mark.usefixtures("short")
async def test_no_try_to_renew_outlasts_the_lease(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[tuple[float, float]] = []

    def hang(_locks: Locks, link: ThreadLink, _token: str, _lease_ms: int) -> bool:
        tries.append((time.monotonic(), link._timeout))
        raise EffectUnknown("no reply in time")

    monkeypatch.setattr(Locks, "renew", hang)
    async with app:
        with pytest.raises(LeaseLost):
            async with app.lock("a"):
                ends = time.monotonic() + 0.6
                await asyncio.Event().wait()
    assert tries
    assert all(begun + 2 * timeout <= ends + 0.02 for begun, timeout in tries)
