"""Which failures are worth another attempt, and which attempts count."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest
from tests.eventually import eventually

from castwork import App, Backoff, Call, ProceedSync, Retry, TaskState, current
from castwork.model.errors import DefinitionError

SOON = Backoff(base=0.001, factor=1)


@pytest.mark.parametrize(
    ("options", "runs"),
    [
        ({"retry_on": (KeyError,)}, {"KeyError": 3, "ValueError": 1, "Retry": 3}),
        ({"retry_on": KeyError}, {"KeyError": 3, "ValueError": 1, "Retry": 3}),
        ({"give_up_on": (KeyError,)}, {"KeyError": 1, "ValueError": 3, "Retry": 3}),
        ({"give_up_on": (LookupError,)}, {"KeyError": 1, "ValueError": 3, "Retry": 3}),
        ({}, {"KeyError": 3, "ValueError": 3, "Retry": 3}),
    ],
)
async def test_options_say_which_exceptions_are_tried_again(
    app: App, options: dict[str, Any], runs: dict[str, int]
) -> None:
    kinds: dict[str, Exception] = {
        "KeyError": KeyError("k"),
        "ValueError": ValueError("v"),
        "Retry": Retry("r", after=0.001),
    }

    @app.task(attempts=3, backoff=SOON, **options)
    async def fail(kind: str) -> None:
        raise kinds[kind]

    async with app, app.worker(scheduler_interval=0.01):
        for kind, expected in runs.items():
            status = await (await fail.enqueue(kind)).wait(timeout=10)
            assert (status.status, status.attempts) == (TaskState.DEAD, expected)


async def test_a_timeout_is_tried_again_only_where_it_is_named(app: App) -> None:
    @app.task(attempts=2, timeout=0.05, backoff=SOON, retry_on=(KeyError,))
    async def once() -> None:
        await asyncio.Event().wait()

    @app.task(attempts=2, timeout=0.05, backoff=SOON, retry_on=(TimeoutError,))
    async def twice() -> None:
        await asyncio.Event().wait()

    async with app, app.worker(scheduler_interval=0.01):
        tasks = [await once.enqueue(), await twice.enqueue()]
        assert [(await task.wait(timeout=10)).attempts for task in tasks] == [1, 2]


@pytest.mark.parametrize(
    "options",
    [
        {"retry_on": (KeyError,), "give_up_on": (ValueError,)},
        {"retry_on": ("KeyError",)},
        {"give_up_on": (int,)},
        {"give_up_on": [KeyError]},
    ],
)
def test_what_cannot_be_said_is_refused(app: App, options: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="retry_on|give_up_on"):
        app.task(**options)(_noop)


async def _noop() -> None: ...


async def test_an_attempt_that_asks_not_to_count_does_not(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    left: list[int] = []

    @app.task(attempts=2, backoff=SOON)
    async def limited() -> str:
        left.append(current().attempts_left)
        if len(left) <= 12:
            raise Retry("slow down", after=0.001, counted=False)
        if len(left) == 13:
            raise ValueError("a real failure")
        return "done"

    async with app, app.worker(scheduler_interval=0.01):
        task = await limited.enqueue()
        assert await task.result(timeout=20) == "done"
        assert (await task.status()).attempts == 14
    assert left == [1] * 13 + [0]
    assert "has no deadline" not in caplog.text


async def test_a_task_that_is_tried_for_very_long_is_warned_of(
    app: App, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = asyncio.Event()

    @app.task(attempts=2, backoff=SOON)
    async def limited() -> None:
        if ended.is_set():
            return
        raise Retry("slow down", after=0.001, counted=False)

    from castwork.worker import finisher

    late = finisher.time.time() + 7200
    with caplog.at_level(logging.WARNING):
        async with app, app.worker(scheduler_interval=0.01):
            monkeypatch.setattr(finisher.time, "time", lambda: late)
            task = await limited.enqueue()
            await eventually(lambda: "asked 1 times" in caplog.text)
            ended.set()
            await task.wait(timeout=10)


async def test_plain_wrappers_run_in_the_threads_of_plain_functions(app: App) -> None:
    seen: list[tuple[str, bool]] = []
    main = threading.get_ident()

    @app.around_task
    def connections(call: Call[Any], proceed: ProceedSync) -> Any:
        seen.append((call.function.name, threading.get_ident() == main))
        return proceed() + 1

    @app.task
    def plain(number: int) -> int:
        return number

    @app.task
    async def coroutine(number: int) -> int:
        return number

    async with app, app.worker():
        assert await (await plain.enqueue(1)).result(timeout=10) == 2
        assert await (await coroutine.enqueue(1)).result(timeout=10) == 1
    assert seen == [("plain", False)]
