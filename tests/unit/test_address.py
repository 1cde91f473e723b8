from __future__ import annotations

import pytest

from castwork.model.errors import DefinitionError
from castwork.redis.address import Address, parse_url


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://", Address()),
        ("redis://example:7000/2", Address("example", 7000, database=2)),
        ("redis://:p%40ss@h", Address("h", password="p@ss")),
        ("redis://u:p@h:1", Address("h", 1, username="u", password="p")),
        ("valkey://h", Address("h")),
        ("unix:///run/r.sock?db=3", Address("", path="/run/r.sock", database=3)),
        ("redis://[::1]:6380", Address("::1", 6380)),
    ],
)
def test_urls(url: str, address: Address) -> None:
    assert parse_url(url) == address


def test_tls_checks_the_server_unless_told_otherwise() -> None:
    checked, unchecked = parse_url("rediss://h").tls, parse_url("rediss://h?ssl_cert_reqs=none").tls

    assert checked is not None
    assert checked.check_hostname
    assert unchecked is not None
    assert not unchecked.check_hostname


@pytest.mark.parametrize("url", ["http://h", "h:6379", "redis://h:port", "redis://h/x"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(DefinitionError):
        parse_url(url)


def test_errors_do_not_show_the_password() -> None:
    with pytest.raises(DefinitionError) as caught:
        parse_url("redis://u:secret@h/x")

    assert "secret" not in str(caught.value)
    assert "secret" not in repr(parse_url("redis://u:secret@h"))
