import asyncio
from collections.abc import AsyncIterator

from castwork import App

app = App("embedded://")  # this project's own server; in production redis://host:6379
news = app.channel("news", dict, history=100)
news.subscribe(print)  # every process runs it on every event; also a decorator


@app.task(attempts=3, timeout=30)  # exactly one worker runs each call
async def tell(text: str) -> AsyncIterator[str]:
    for word in text.split():
        yield word + " "


async def main() -> None:
    async with app, app.worker():  # in production a worker is a process of its own
        task = await tell.enqueue("one Redis, two verbs")
        async for chunk in task.chunks():
            print("chunk:", chunk.data)
        await (await news.publish({"told": await task.result()})).applied()


if __name__ == "__main__":
    asyncio.run(main())
