"""Log lines of tasks have the task's id, whoever writes them."""

from __future__ import annotations

import io
import logging

from castwork import App
from castwork.contrib.logs import install


async def test_lines_inside_of_a_task_name_it_in_coroutines_and_threads(app: App) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(task)s %(attempt)d %(queue)s %(owner)s %(message)s"))
    library = logging.getLogger("some.library")
    top = logging.getLogger("some")
    top.addHandler(handler)
    top.setLevel(logging.INFO)

    @app.task(queue="q")
    async def work() -> None:
        library.info("in a coroutine")

    @app.task(queue="q")
    def plain() -> None:
        library.info("in a thread")

    install(top)
    install(top)
    assert len(handler.filters) == 1
    try:
        async with app, app.worker():
            library.info("outside")
            first = await work.options(owner="ada").enqueue()
            await first.result(timeout=10)
            second = await plain.enqueue()
            await second.result(timeout=10)
            library.info("with extra", extra={"task": "mine"})
    finally:
        top.removeHandler(handler)
    assert stream.getvalue().splitlines() == [
        " 0   outside",
        f"{first.id} 1 q ada in a coroutine",
        f"{second.id} 1 q  in a thread",
        "mine 0   with extra",
    ]
