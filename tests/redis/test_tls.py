"""TLS on Redis itself, as managed servers have it: certificates from the URL, logins, workers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from tests.certificates import make_certificates
from tests.eventually import eventually
from tests.servers import listening_server, program_on_path

from castwork import App, AppSettings, Credentials, LinkSettings
from castwork.model.errors import ServerUnavailable


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of certificates."""
    if program_on_path("openssl") is None:
        pytest.skip("no openssl on PATH")
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def url(certificates: Path) -> Iterator[str]:
    """A Redis that speaks TLS only, and knows the user `u` with the password `p`."""
    program = program_on_path("redis-server")
    if program is None:
        pytest.skip("no redis-server on PATH")
    with listening_server(program, certificates) as url:
        with redis.Redis.from_url(url) as client:
            client.execute_command("ACL", "SETUSER", "u", "on", ">p", "~*", "&*", "+@all")
        yield url


def make_app(url: str, namespace: str, source: type[Source] | None = None) -> App:
    return App(url, settings=AppSettings(namespace=namespace), credentials=source and source())


class Source:
    """A login that is renewed about three times a second."""

    def __call__(self) -> Credentials:
        return Credentials("u", "p", time.time() + 0.5)


@pytest.mark.parametrize("source", [None, Source], ids=["no login", "login"])
async def test_tasks_and_events_go_over_tls(
    url: str, namespace: str, source: type[Source] | None
) -> None:
    app = make_app(url, namespace, source)
    heard: list[str] = []
    channel = app.channel(f"{namespace}:news", str)

    @app.task
    async def shout(text: str) -> str:
        await channel.publish(text)
        return text.upper()

    @channel.subscribe
    async def hear(text: str) -> None:
        heard.append(text)

    async with app, app.worker(lease=0.5):
        assert await (await shout.enqueue("a")).result(timeout=10) == "A"
        assert await shout.enqueue_sync("b").result(timeout=10) == "B"
        await eventually(lambda: heard == ["a", "b"])
        with redis.Redis.from_url(url) as plain:
            names = {c["name"]: c["user"] for c in plain.client_list() if c["name"]}
        assert set(names.values()) == {"u" if source else "default"}
        assert {"castwork-commands", "castwork-pushes", "castwork-read-default"} <= set(names)


async def test_the_lease_thread_speaks_tls_and_logs_in(url: str, namespace: str) -> None:
    app = make_app(url, namespace, Source)
    await app.connections.open()
    link = app.connections.thread_link(0, 5.0)

    assert link.call("ACL", "WHOAMI") == b"u"

    link.close()
    await app.close()


async def test_a_certificate_of_an_unknown_authority_is_refused(url: str) -> None:
    with pytest.raises(ServerUnavailable, match=r"verify failed.*ssl_ca_certs=FILE"):
        await App(url.partition("?")[0]).open()


async def test_a_certificate_for_another_name_is_refused_unless_asked_for(url: str) -> None:
    by_number = url.replace("localhost", "127.0.0.1")
    with pytest.raises(ServerUnavailable, match="certificate"):
        await App(by_number).open()

    async with App(f"{by_number}&ssl_check_hostname=false"):
        pass
    async with App(f"{by_number.partition('?')[0]}?ssl_cert_reqs=none"):
        pass


async def test_a_client_certificate_is_shown_where_the_server_asks_for_it(
    url: str, certificates: Path
) -> None:
    with redis.Redis.from_url(url) as client:
        client.config_set("tls-auth-clients", "yes")
        try:
            with pytest.raises(ServerUnavailable):
                await App(url).open()
            files = [f"ssl_{kind}file={certificates / 'client'}.{end}" for kind, end in _FILES]
            async with App("&".join([url, *files])):
                pass
        finally:
            client.config_set("tls-auth-clients", "no")


_FILES = [("cert", "crt"), ("key", "key")]


async def test_plain_text_to_a_tls_port_says_what_failed(url: str) -> None:
    plain = url.replace("rediss", "redis").partition("?")[0]
    with pytest.raises(ServerUnavailable, match="wants rediss://"):
        await App(plain).open()


async def test_tls_to_a_port_of_plain_text_says_what_it_is() -> None:
    settings = AppSettings(link=LinkSettings(connect_timeout=0.3))
    with listening_server() as plain:
        app = App(plain.replace("redis:", "rediss:"), settings=settings)
        with pytest.raises(ServerUnavailable, match="a port without TLS"):
            await app.open()
