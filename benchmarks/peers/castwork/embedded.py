"""Opens an application on its own embedded server, enqueues one task, and says so."""

import asyncio

from castwork import App

app = App("embedded://")


@app.task
async def hello() -> None: ...


async def main() -> None:
    async with app:
        await hello.enqueue()
        print("ready", flush=True)


asyncio.run(main())
