"""Processes of the command line that end with the test that started them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest
from tests.cli.processes import Running, Up

from castwork.embedded import EmbeddedServer


@pytest.fixture
def start_up() -> Iterator[Callable[..., Up]]:
    """Starts `castwork up` on the sample app."""
    started: list[Up] = []

    def start(*arguments: str, module: str = "sample_app") -> Up:
        started.append(Up(*arguments, module=module))
        return started[-1]

    yield start
    for one in started:
        one.clean_up()


@pytest.fixture
def start() -> Iterator[Callable[..., Running]]:
    """Starts any command that runs on."""
    started: list[Running] = []

    def run(*arguments: str, **options: dict[str, str]) -> Running:
        started.append(Running(*arguments, **options))
        return started[-1]

    yield run
    for one in started:
        one.clean_up()


@pytest.fixture(scope="session")
def backend() -> Iterator[Up]:
    """A backend that the tests of the group "up" share."""
    up = Up()
    try:
        yield up.wait_ready()
    finally:
        up.clean_up()


@pytest.fixture
def own_server() -> Iterator[EmbeddedServer]:
    """A server of the test's own, on a port."""
    with EmbeddedServer(port=0) as server:
        yield server


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])
