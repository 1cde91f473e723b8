from __future__ import annotations

import pytest

from castwork.model.errors import DefinitionError
from castwork.redis.address import Endpoint, Target, parse_url


def at(host: str = "127.0.0.1", port: int = 6379) -> tuple[Endpoint, ...]:
    return (Endpoint(host, port),)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("redis://", Target()),
        ("redis://example:7000/2", Target(seeds=at("example", 7000), database=2)),
        ("redis://:p%40ss@h", Target(seeds=at("h"), password="p@ss")),
        ("redis://u:p@h:1", Target(seeds=at("h", 1), username="u", password="p")),
        ("redis://h?password=p@s&db=0", Target(seeds=at("h"), password="p@s")),
        ("redis://h?username=u&password=p", Target(seeds=at("h"), username="u", password="p")),
        ("valkey://h", Target(seeds=at("h"))),
        ("unix:///run/r.sock?db=3", Target(seeds=(Endpoint("", path="/run/r.sock"),), database=3)),
        ("redis://[::1]:6380", Target(seeds=at("::1", 6380))),
    ],
)
def test_urls(url: str, target: Target) -> None:
    parsed = parse_url(url)

    assert (parsed.seeds, parsed.database) == (target.seeds, target.database)
    assert (parsed.username, parsed.password) == (target.username, target.password)
    assert parsed.tls is None


def test_tls_checks_the_server_unless_told_otherwise() -> None:
    checked, unchecked = parse_url("rediss://h").tls, parse_url("rediss://h?ssl_cert_reqs=none").tls

    assert checked is not None
    assert checked.check_hostname
    assert unchecked is not None
    assert not unchecked.check_hostname


def test_an_endpoint_prints_as_it_is_written() -> None:
    shown = [str(parse_url(url)) for url in ("redis://h:1/2", "redis://[::1]", "unix:///r.sock")]

    assert shown == ["h:1", "[::1]:6379", "unix:///r.sock"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("ssl_ca_cert=/f", "no parameter is named ssl_ca_cert; there are: ssl_ca_certs, "),
        ("ssl_cert_reqs=None", "ssl_cert_reqs is none or required"),
    ],
)
def test_misspelt_parameters_of_tls_are_refused(query: str, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        parse_url(f"rediss://h?{query}")


@pytest.mark.parametrize(
    "url", ["http://h", "h:6379", "redis://h:port", "redis://h/x", "redis://h/-1", "redis://[h"]
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(DefinitionError, match="not a Redis URL"):
        parse_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://u:secret@h/x",
        "redis://:secret@h:port",
        "redis://h/x?password=secret&db=1",
        "redis://:sec/secret@h",
        "redis://:secret#@h",
        "redis://u:se@secret@[h",
        "http://u:secret@h",
        "rediss://u:secret@h?ssl_ca_certs=/none",
        # A password that ends the host too early: what stands before would be taken for a host.
        "redis://u:secret?x@h:6379/0",
        "redis://secret:6379/x@h:6379",
        "redis://secret:12#x@h",
        "redis://u:12/secret@h:6379/0",
        "redis://secret:1?db=1&x@h",
    ],
)
def test_errors_do_not_show_the_password(url: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        parse_url(url)

    assert "secret" not in str(caught.value)


def test_a_target_does_not_show_the_password() -> None:
    target = parse_url("redis://u:secret@h")

    assert "secret" not in f"{target} {target!r} {target.seeds!r}"
