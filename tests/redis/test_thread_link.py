"""The blocking connection of a thread."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from tests.redis.links import free_port, link_to, server_with

from castwork.embedded import EmbeddedServer
from castwork.model.credentials import Credentials
from castwork.model.errors import (
    AuthenticationFailed,
    EffectUnknown,
    ServerRefused,
    ServerUnavailable,
)
from castwork.redis.address import Endpoint, parse_url
from castwork.redis.login import Login
from castwork.redis.replies import NoScript
from castwork.redis.thread_link import ThreadLink


def thread_link_to(url: str, login: Login | None = None, timeout: float = 5.0) -> ThreadLink:
    target = parse_url(url)
    return ThreadLink(
        lambda: target.seeds[0], login or Login(), target=target, name="test", timeout=timeout
    )


@pytest.fixture
def thread_link(server_url: str) -> Iterator[ThreadLink]:
    made = thread_link_to(server_url)
    yield made
    made.close()


def test_it_connects_when_it_is_needed(thread_link: ThreadLink, plain: redis.Redis) -> None:
    clients = len(plain.client_list())

    assert thread_link.call("ECHO", "x") == b"x"

    assert len(plain.client_list()) == clients + 1


def test_errors_are_the_same_as_elsewhere(thread_link: ThreadLink) -> None:
    with pytest.raises(NoScript):
        thread_link.call("EVALSHA", "0" * 40, 0)
    with pytest.raises(ServerRefused, match="unknown command"):
        thread_link.call("NOSUCH")
    assert thread_link.call("EVAL", "return ARGV[1]", 0, "x") == b"x"


def test_replies_are_those_of_resp3(thread_link: ThreadLink) -> None:
    assert thread_link.call("CONFIG", "GET", "databases") == {b"databases": b"16"}


def test_nothing_is_repeated_after_a_loss_and_the_next_call_connects(
    thread_link: ThreadLink, plain: redis.Redis, namespace: str
) -> None:
    plain.client_kill_filter(_id=str(thread_link.call("CLIENT", "ID")))

    with pytest.raises(EffectUnknown):
        thread_link.call("INCR", namespace)

    assert thread_link.call("INCR", namespace) == 1


def test_a_server_that_does_not_answer_is_not_waited_for(server_url: str) -> None:
    made = thread_link_to(server_url, timeout=0.2)

    with pytest.raises(EffectUnknown):
        made.call("BLPOP", "never", 0)

    made.close()


def test_nobody_at_the_address_says_so() -> None:
    with pytest.raises(ServerUnavailable, match="no Redis or Valkey at 127.0.0.1:1"):
        thread_link_to("redis://127.0.0.1:1").call("PING")


def test_the_address_is_asked_for_at_each_connect() -> None:
    with EmbeddedServer() as first, EmbeddedServer(port=0) as second:
        endpoints: Iterator[Endpoint] = iter(
            parse_url(url).seeds[0] for url in (first.url, second.url)
        )
        made = ThreadLink(
            lambda: next(endpoints), Login(), target=parse_url(first.url), name="test", timeout=5
        )
        made.call("SET", "k", "first")
        made.close()

        assert made.call("GET", "k") is None
        made.close()


@pytest.mark.one_server("a cluster has one database only")
def test_it_uses_the_database_of_the_url(server_url: str, plain: redis.Redis) -> None:
    made = thread_link_to(f"{server_url}?db=3")

    made.call("PING")

    assert {client["db"] for client in plain.client_list() if client["name"] == "test"} == {"3"}
    made.close()


def test_a_wrong_password_says_so(server_url: str) -> None:
    made = thread_link_to(server_url, Login(Credentials("nobody", "wrong")))

    with pytest.raises(AuthenticationFailed, match="refused the login"):
        made.call("PING")


async def test_a_renewed_login_is_sent_with_the_next_command(
    server_url: str, plain: redis.Redis, namespace: str
) -> None:
    users = [f"{namespace}-{i}" for i in range(3)]
    for user in users[:2]:
        plain.execute_command("ACL", "SETUSER", user, "on", f">{user}", "+@all")
    given = iter(users)

    async def source() -> Credentials:
        user = next(given)
        return Credentials(user, user)

    login = Login(source=source)
    await login.ready()
    made = thread_link_to(server_url, login)
    connection = made.call("CLIENT", "ID")
    assert made.call("ACL", "WHOAMI") == users[0].encode()

    await login.renew()
    made.call("PING")
    assert made.call("ACL", "WHOAMI") == users[1].encode()
    await login.renew()  # the server does not know that one
    made.call("PING")
    assert made.call("ACL", "WHOAMI") == users[1].encode()

    assert made.call("CLIENT", "ID") == connection
    made.close()
    login.close()
    plain.execute_command("ACL", "DELUSER", *users)


async def test_a_refused_login_is_not_sent_at_each_call(
    server_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    passwords = iter(["", "unknown"])
    login = Login(source=lambda: Credentials("nobody", next(passwords)), retry_after=60)
    await login.renew()
    made = thread_link_to(server_url, Login())
    made.call("PING")
    made._login = login

    for _ in range(3):
        made.call("PING")

    assert caplog.text.count("keeps its old login") == 1
    made._next_login = 0.0  # the time has come
    made.call("PING")
    assert caplog.text.count("keeps its old login") == 2
    made.close()
    login.close()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1, and its key beside it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl on PATH")
    made = tmp_path / "cert.pem"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(made)]
    subprocess.run([openssl, *words, *names, *files], check=True, capture_output=True)
    return made


async def test_tls(certificate: Path) -> None:
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("no redis-server on PATH")
    port = free_port()
    options = {
        "tls_port": str(port),
        "tls_cert_file": str(certificate),
        "tls_key_file": str(certificate.with_name("key.pem")),
        "tls_auth_clients": "no",
    }
    with server_with(binary, **options):
        url = f"rediss://127.0.0.1:{port}"
        trusting, strange = f"{url}?ssl_ca_certs={certificate}", url
        made, link = thread_link_to(trusting), link_to(trusting)
        await link.open()

        assert made.call("ECHO", "x") == await link.call("ECHO", "x") == b"x"
        large = b"x" * 3_000_000  # more than any buffer on the way
        assert made.call("ECHO", large) == await link.call("ECHO", large) == large
        for refused in (thread_link_to(strange).call, link_to(strange).open):
            with pytest.raises(ServerUnavailable, match="certificate verify failed"):
                result = refused()
                if result is not None:
                    await result

        made.close()
        await link.close()
