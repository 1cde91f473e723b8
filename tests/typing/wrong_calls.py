"""Read by mypy, not run: it must find an error in each line marked so, and in no other."""

from __future__ import annotations

from castwork import App

app = App()
names = app.channel("names", str)


@app.task(queue="inference")
async def infer(prompt: str, model: str = "small") -> int:
    return len(prompt + model)


async def main() -> None:
    await infer.enqueue(3)  # wrong
    await infer.enqueue("hi", mode="big")  # wrong
    await infer.enqueue()  # wrong
    infer.enqueue_sync(prompt=None)  # wrong
    await infer.options(prority="high").enqueue("hi")  # wrong
    (await (await infer.enqueue("hi")).result()).upper()  # wrong
    await names.publish(3)  # wrong


@app.task(retries=3)  # wrong
async def other() -> None: ...
