"""Read by type checkers, not run: they must find an error in each line marked so, and no other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from castwork import App, all_of

app = App()
names = app.channel("names", str)


@app.task(queue="inference")
async def infer(prompt: str, model: str = "small") -> int:
    return len(prompt + model)


@app.task
async def bare(prompt: str) -> None: ...


@app.task
async def chat(prompt: str) -> AsyncIterator[str]:
    yield prompt


@app.task(attempts=2)
def threaded(count: int) -> bytes:
    return bytes(count)


@app.task
async def loose(prompt: str) -> dict[str, Any]:
    return {prompt: 1}


@app.task(queue="inference")
def loose_thread(prompt: str) -> dict[str, Any]:
    return {prompt: 1}


@app.task
async def loose_stream(prompt: str) -> AsyncIterator[dict[str, Any]]:
    yield {prompt: 1}


async def arguments() -> None:
    await infer.enqueue(3)  # wrong
    await infer.enqueue("hi", mode="big")  # wrong
    await infer.enqueue()  # wrong
    await bare.enqueue(None)  # wrong
    await chat.enqueue(3)  # wrong
    await threaded.enqueue("3")  # wrong
    infer.enqueue_sync(prompt=None)  # wrong
    threaded.enqueue_sync(count="3")  # wrong


async def loose_results() -> None:
    await loose.enqueue(3)  # wrong
    await loose.enqueue("hi", "there")  # wrong
    await loose_thread.enqueue(prompt=3)  # wrong
    await loose_stream.enqueue()  # wrong
    loose_thread(3)  # wrong


async def kinds() -> None:
    infer(3)  # wrong
    threaded("3")  # wrong
    len(infer("hi"))  # wrong
    await threaded(3)  # wrong
    await chat("hi")  # wrong
    (await (await infer.enqueue("hi")).result()).upper()  # wrong
    (await (await chat.enqueue("hi")).result()).append("x")  # wrong


async def options() -> None:
    await infer.options(prority="high").enqueue("hi")  # wrong
    infer.options(delay="soon")  # wrong
    infer.options(labels={"run": 7})  # wrong
    await infer.options(delay=3).enqueue(3)  # wrong
    await chat.options(key="k").enqueue()  # wrong
    threaded.options(key="k")("3")  # wrong


async def broadcast() -> None:
    await names.publish(3)  # wrong


@app.task(retries=3)  # wrong
async def other() -> None: ...


def no_login() -> str:
    return "secret"


App("redis://a", credentials=no_login)  # wrong
App("redis://a", credentials=("user", "secret"))  # wrong


@app.task
async def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task
async def told(status: str) -> int:
    return len(status)


async def flows() -> None:
    infer.call("hi").then(total)  # wrong
    infer.call("hi").then_each(total)  # wrong
    infer.call("hi").on_failure(told)  # wrong
    all_of([infer.call("a")]).then(infer)  # wrong
    (await (await all_of([infer.call("a")]).enqueue()).result()).upper()  # wrong
