"""One running demo for all tests of this folder: starting it takes seconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tests.demo.backend import Backend

from castwork.embedded import EmbeddedServer


@pytest.fixture(scope="session")
def backend() -> Iterator[Backend]:
    """A gateway and two workers on a server of their own."""
    with ExitStack() as stack:
        server = stack.enter_context(EmbeddedServer())
        backend = Backend(server.url, stack)
        backend.start_worker()
        backend.start_worker()
        yield backend
