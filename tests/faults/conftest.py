"""Processes of the sample app, and what looks at their work."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from tests.faults.ledger import Ledger
from tests.faults.process import Crew
from tests.faults.sample_app import Notes, build

from castwork import App, TaskFunction
from castwork.model.queue import Queue


@pytest.fixture
def crew(server_url: str, namespace: str, tmp_path: Path) -> Iterator[Crew]:
    """Starts worker processes on the shared server and ends them."""
    made = Crew(server_url, namespace, tmp_path)
    yield made
    made.end()


@pytest.fixture
async def sample(server_url: str, namespace: str) -> AsyncIterator[App]:
    """The sample app in this process: to enqueue and to publish; its handlers do not run."""
    made = build(server_url, namespace)
    yield made
    await made.close()


@pytest.fixture
def tasks(sample: App) -> Callable[[str], TaskFunction[..., Any]]:
    """The sample app's task functions, by name."""
    return sample.tasks.get


@pytest.fixture
def notes(server_url: str, namespace: str) -> Iterator[Notes]:
    """What the sample app's functions did."""
    made = Notes(server_url, namespace)
    yield made
    made.client.close()


@pytest.fixture
def ledger(plain: redis.Redis, namespace: str) -> Ledger:
    """The queue of the sample app's own tasks."""
    return Ledger(plain, namespace, Queue("work"))
