"""A setting that every process shares, a channel with receipts, and a group that bills once."""

import asyncio
from dataclasses import dataclass

from castwork import App, Resync

app = App("embedded://")


@dataclass(frozen=True)
class Sampling:
    temperature: float = 0.7
    max_tokens: int = 256


@dataclass(frozen=True)
class ModelUpdated:
    name: str
    version: int


sampling = app.setting("sampling", Sampling, default=Sampling())
models = app.channel("models", ModelUpdated, history=100)
loaded: dict[str, int] = {}
billed: asyncio.Queue[ModelUpdated] = asyncio.Queue()


@models.subscribe  # every process, this one included
async def reload_model(event: ModelUpdated | Resync) -> None:
    if isinstance(event, Resync):
        loaded.clear()  # events were missed for good: forget everything
        return
    loaded[event.name] = event.version


@models.subscribe(group="billing")  # one worker of all
async def bill(event: ModelUpdated) -> None:
    billed.put_nowait(event)


async def main() -> None:
    async with app, app.worker():
        print("temperature:", sampling.value.temperature)
        applied = await (await sampling.set(Sampling(temperature=0.2))).applied()
        print("temperature:", sampling.value.temperature, "everywhere:", applied.complete)
        applied = await (await models.publish(ModelUpdated("bert", 2))).applied()
        print("loaded:", loaded, "by", len(applied.applied), "process, failed:", applied.failed)
        print("billed:", (await billed.get()).name)  # a group has no part in receipts


asyncio.run(main())
