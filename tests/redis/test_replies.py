from __future__ import annotations

import pytest

from castwork.model.errors import (
    AuthenticationFailed,
    OutOfMemory,
    PersistenceFailed,
    ServerError,
    ServerRefused,
)
from castwork.redis.address import Endpoint
from castwork.redis.replies import (
    Asked,
    Busy,
    CannotServe,
    ClusterDown,
    Moved,
    NoReplicas,
    NoScript,
    NotNow,
    TryAgain,
    error_of,
)

ASKED = Endpoint("asked", 1)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("LOADING Redis is loading the dataset in memory", CannotServe),
        ("READONLY You can't write against a read only replica.", CannotServe),
        ("MASTERDOWN Link with MASTER is down", CannotServe),
        ("TRYAGAIN Multiple keys request during rehashing of slot", TryAgain),
        ("CLUSTERDOWN The cluster is down", ClusterDown),
        ("BUSY Redis is busy running a script.", Busy),
        ("BUSYGROUP Consumer Group name already exists", ServerRefused),
        ("NOREPLICAS Not enough good replicas to write.", NoReplicas),
        ("MOVED 3999 127.0.0.1:6381", Moved),
        ("ASK 3999 127.0.0.1:6381", Asked),
        ("MISCONF Errors writing to the AOF file", PersistenceFailed),
        ("OOM command not allowed when used memory > 'maxmemory'.", OutOfMemory),
        ("NOPERM this user has no permissions", AuthenticationFailed),
        ("ERR Error running script (call to f_1): @user_script:1: -NOSCRIPT No such", NoScript),
        ("ERR Error running script: -OOM command not allowed when used", OutOfMemory),
        ("ERR unknown command", ServerRefused),
    ],
)
def test_each_code_has_its_class(message: str, kind: type[ServerError]) -> None:
    error = error_of(message)

    assert type(error) is kind
    assert isinstance(error, ServerError)
    assert str(error) == message


@pytest.mark.parametrize(
    ("message", "slot", "endpoint"),
    [
        ("MOVED 3999 127.0.0.1:6381", 3999, Endpoint("127.0.0.1", 6381)),
        ("MOVED 0 node.example:7000", 0, Endpoint("node.example", 7000)),
        ("ASK 16383 2001:db8::1:6381", 16383, Endpoint("2001:db8::1", 6381)),
        ("MOVED 5 :6381", 5, Endpoint("asked", 6381)),
        ("MOVED 5 ?:6381", 5, None),
        ("MOVED nonsense", -1, None),
    ],
)
def test_a_redirect_says_where_the_slot_is(
    message: str, slot: int, endpoint: Endpoint | None
) -> None:
    redirect = error_of(message)

    assert isinstance(redirect, Moved | Asked)
    assert redirect.slot == slot
    assert redirect.endpoint(ASKED) == endpoint


def test_the_wait_after_a_refusal_doubles_up_to_its_bound() -> None:
    for kind in (TryAgain, ClusterDown, Busy, NoReplicas):
        error = kind("x")
        assert isinstance(error, NotNow)
        for tries in range(1, 200):
            ceiling = min(kind.longest, kind.first * 2 ** (tries - 1))
            assert ceiling / 2 <= error.wait(tries) <= ceiling
