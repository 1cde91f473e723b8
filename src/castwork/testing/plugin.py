"""The pytest plugin: your fixture `castwork_app` returns your App, `castwork` is its run."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from castwork.app import App
from castwork.testing.recording import Run
from castwork.testing.running import running


@pytest.fixture
async def castwork(castwork_app: App) -> AsyncIterator[Run]:
    """The app on a private server, with a worker, for one test."""
    async with running(castwork_app) as run:
        yield run
