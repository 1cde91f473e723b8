"""Apps whose login changes under load: every task succeeds once, and every event is heard."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Iterator

import pytest
import redis
from tests.eventually import eventually
from tests.servers import listening_server

from castwork import App, AppSettings, Credentials

#: Seconds of a worker's lease, and of a slow task: the lease's thread renews it meanwhile.
_LEASE, _SLOW = 3.0, 2.5


class Rotating:
    """A source whose every login is a new user; the server drops whoever uses an old one.

    Args:
        root: the administrator.
        keep: users that the server knows.
        kills: whether each renewal also cuts the connections of the last user.
    """

    def __init__(self, root: redis.Redis, *, keep: int, kills: bool) -> None:
        self.users: list[str] = []
        #: Seconds of a login's life; renewed at some 0.65 of it.
        self.life = 0.7
        self._root = root
        self._keep = keep
        self._kills = kills

    def __call__(self) -> Credentials:
        user, password = f"u{secrets.token_hex(4)}", secrets.token_hex(8)
        self._root.execute_command(
            "ACL", "SETUSER", user, "on", f">{password}", "~*", "&*", "+@all"
        )
        self.users.append(user)
        for old in self.users[-5:-4]:  # the app's threads without a loop log in by themselves
            self._root.execute_command("ACL", "DELUSER", old)
        if self._kills and len(self.users) > 1:
            self._root.execute_command("CLIENT", "KILL", "USER", self.users[-2])
        return Credentials(user, password, time.time() + self.life)


@pytest.fixture
def root() -> Iterator[tuple[str, redis.Redis]]:
    """A server that nobody may use without a login, and its administrator."""
    with listening_server() as url:
        with redis.Redis.from_url(url) as client:
            client.execute_command("ACL", "SETUSER", "admin", "on", ">admin", "~*", "&*", "+@all")
            client.execute_command("ACL", "SETUSER", "default", "resetkeys", "nocommands")
        with redis.Redis.from_url(url, username="admin", password="admin") as client:
            yield url, client


class Site:
    """A worker, and a process that enqueues to it and hears the events that its tasks publish."""

    def __init__(self, url: str, sources: list[Rotating], namespace: str) -> None:
        self.runs: Counter[int] = Counter()
        self.heard: list[int] = []
        self.results: list[int] = []
        self.backend = App(url, credentials=sources[0], settings=AppSettings(namespace=namespace))
        self.front = App(url, credentials=sources[1], settings=AppSettings(namespace=namespace))
        self.ends = self.front.channel("ends", int, history=10_000)
        published = self.backend.channel("ends", int, history=10_000)

        async def work(number: int) -> int:
            self.runs[number] += 1
            await asyncio.sleep(_SLOW if number % 50 == 0 else 0.001)
            await published.publish(number)
            return number

        self.backend.task(work)
        self.work = self.front.task(work)
        self.ends.subscribe(self._hear)

    async def follow(self, number: int) -> None:
        """Enqueue a task, every seventh one from a thread, and await its result."""
        if number % 7 == 0:
            task_id = (await asyncio.to_thread(self.work.enqueue_sync, number)).id
        else:
            task_id = (await self.work.enqueue(number)).id
        self.results.append(await self.front.get_task(task_id).result(timeout=30))

    async def _hear(self, number: int) -> None:
        self.heard.append(number)


@pytest.mark.parametrize("kills", [False, True], ids=["renewed", "and cut"])
async def test_no_task_and_no_event_is_lost_while_logins_rotate(
    root: tuple[str, redis.Redis], namespace: str, kills: bool, caplog: pytest.LogCaptureFixture
) -> None:
    # `enqueue_sync` has connections of its own, which log in by themselves.
    sources = [Rotating(root[1], keep=keep, kills=kills) for keep in (5, 10)]
    site = Site(root[0], sources, namespace)
    enqueued = 0
    async with site.front, site.backend, site.backend.worker(lease=_LEASE):
        async with asyncio.TaskGroup() as group:
            while min(len(source.users) for source in sources) < (5 if kills else 8):
                for _ in range(5):
                    group.create_task(site.follow(enqueued))
                    enqueued += 1
                await asyncio.sleep(0.02)
            for source in sources:  # a read of a queue without tasks blocks for two seconds
                source.life = 3600.0
        await eventually(lambda: len(site.heard) >= enqueued)

    assert sorted(site.results) == list(range(enqueued))
    assert site.runs == Counter(range(enqueued))
    assert sorted(site.heard) == list(range(enqueued))
    assert kills == ("lost the connection" in caplog.text)
