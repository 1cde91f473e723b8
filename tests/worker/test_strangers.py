"""Workers of other programs in the same namespace."""

from __future__ import annotations

import pytest

from castwork import App, AppSettings


@pytest.mark.parametrize(
    ("names", "queues", "warns"),
    [
        (("embed", "infer"), ("default", "default"), True),
        (("infer", "infer"), ("default", "default"), False),
        (("embed", "infer"), ("default", "other"), False),
    ],
)
async def test_a_worker_beside_one_of_another_program_warns(
    server_url: str,
    namespace: str,
    caplog: pytest.LogCaptureFixture,
    names: tuple[str, str],
    queues: tuple[str, str],
    warns: bool,
) -> None:
    apps = []
    for name, queue in zip(names, queues, strict=True):
        app = App(server_url, settings=AppSettings(namespace=namespace))

        @app.task(name=name, queue=queue)
        async def work() -> None: ...

        apps.append(app)
    first, second = apps
    async with first, second, first.worker() as older, second.worker():
        found = [r.getMessage() for r in caplog.records if "another program" in r.getMessage()]
        assert len(found) == warns
        assert all(older.id in line and "queue default" in line for line in found)


async def test_two_workers_of_one_program_are_no_strangers(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    @app.task
    async def work() -> None: ...

    async with app, app.worker(), app.worker():
        assert "another program" not in caplog.text
