"""The login by Microsoft Entra ID: what a token says, and an app that is logged in by it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, NoReturn

import pytest
import redis
from tests.servers import listening_server

from castwork import App, AppSettings, Credentials
from castwork.azure import SCOPE, EntraLogin
from castwork.model.errors import AuthenticationFailed, DefinitionError

IDENTITY = "1b2c3d4e-0000-4000-8000-0123456789ab"


class AccessToken(NamedTuple):
    token: str
    expires_on: int


def token_of(claims: object) -> str:
    middle = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"head.{middle}.signature"


class Credential:
    """Gives a token as azure-identity does, and notes for what."""

    def __init__(self, token: str) -> None:
        self.scopes: list[str] = []
        self.expires_on = int(time.time()) + 3600
        self._token = token

    def get_token(self, *scopes: str) -> AccessToken:
        self.scopes += scopes
        return AccessToken(self._token, self.expires_on)


def test_the_user_is_the_object_id_of_the_token() -> None:
    token = token_of({"oid": IDENTITY, "aud": "é"})
    credential = Credential(token)

    given = EntraLogin(credential)()

    assert given == Credentials(IDENTITY, token, float(credential.expires_on))
    assert credential.scopes == [SCOPE] == ["https://redis.azure.com/.default"]


def test_a_given_user_and_scope_are_used() -> None:
    credential = Credential("opaque")

    given = EntraLogin(credential, username="me", scope="https://other/.default")()

    assert (given.user, given.password) == ("me", "opaque")
    assert credential.scopes == ["https://other/.default"]


@pytest.mark.parametrize("token", ["opaque", "a.b.c", token_of({"sub": "x"}), token_of([1])])
def test_a_token_without_an_object_id_asks_for_a_user(token: str) -> None:
    with pytest.raises(AuthenticationFailed, match="say EntraLogin\\(username=") as caught:
        EntraLogin(Credential(token))()

    assert token not in str(caught.value)


def test_why_there_is_no_token_is_said_in_one_line() -> None:
    class Failing:
        def get_token(self, *_scopes: str) -> AccessToken:
            raise RuntimeError("none of these:\n\tManaged: away\n" + 400 * "x")

    with pytest.raises(
        AuthenticationFailed, match=r"no token: none of these: Managed: away x+$"
    ) as caught:
        EntraLogin(Failing())()

    assert len(str(caught.value)) < 400


def test_without_a_credential_of_ones_own_it_is_said_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none() -> NoReturn:
        raise RuntimeError("nobody is logged in")

    monkeypatch.setattr("castwork.azure._default_credential", none)

    with pytest.raises(AuthenticationFailed, match=r"run `az login`, .*: nobody is logged in$"):
        EntraLogin()()


def test_an_asynchronous_credential_is_refused() -> None:
    class Asynchronous:
        async def get_token(self, *_scopes: str) -> AccessToken:
            raise AssertionError

    with pytest.raises(DefinitionError, match="not of azure.identity.aio"):
        EntraLogin(Asynchronous())  # type: ignore[arg-type]


def test_a_missing_extra_is_named_and_a_credential_needs_none() -> None:
    program = """
import sys
sys.modules["azure"] = sys.modules["azure.identity"] = None
from castwork.azure import EntraLogin
EntraLogin(credential=object())
try:
    EntraLogin()
except TypeError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert "pip install 'castwork[azure]'" in run.stdout, run.stderr


def test_without_a_credential_that_of_azure_identity_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("azure.identity")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")  # asks no network
    monkeypatch.delenv("AZURE_CLIENT_ID", raising=False)

    with pytest.raises(AuthenticationFailed, match="EnvironmentCredential"):
        EntraLogin()()


class Entra:
    """Entra ID as the HTTP client of azure-identity sees it; counts the tokens that it gives."""

    def __init__(self, life: int) -> None:
        self.given = 0
        self._life = life

    def send(self, request: Any, **_: Any) -> Any:
        base = "https://login.microsoftonline.com/tenant"
        answer: dict[str, object] = {
            "issuer": base,
            "authorization_endpoint": f"{base}/authorize",
            "token_endpoint": f"{base}/token",
        }
        if "openid-configuration" not in request.url:
            self.given += 1
            token = token_of({"oid": IDENTITY, "number": self.given})
            answer = {"access_token": token, "expires_in": self._life, "token_type": "Bearer"}
        text = json.dumps(answer)
        return SimpleNamespace(
            request=request,
            status_code=200,
            headers={"Content-Type": "application/json"},
            content_type="application/json",
            text=lambda encoding=None: text,
            body=text.encode,
        )

    def open(self) -> None: ...

    def close(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


@pytest.mark.parametrize(("life", "tokens"), [(3600, 1), (310, 1), (290, 2)])
def test_azure_identity_keeps_a_token_until_its_last_minutes(life: int, tokens: int) -> None:
    identity = pytest.importorskip("azure.identity")
    entra = Entra(life)
    credential = identity.ClientSecretCredential(
        "tenant", "client", "secret", transport=entra, disable_instance_discovery=True
    )
    login = EntraLogin(credential)

    first, second = login(), login()

    assert first.user == IDENTITY
    assert first.expires_at == pytest.approx(time.time() + life, abs=5)
    assert first.logs_in_as(second) == (tokens == 1)
    assert entra.given == tokens


@pytest.fixture
def url() -> Iterator[str]:
    """A server that takes the token of the identity, and nobody else."""
    with listening_server() as url, redis.Redis.from_url(url) as root:
        password = f">{token_of({'oid': IDENTITY})}"
        root.execute_command("ACL", "SETUSER", IDENTITY, "on", password, "~*", "&*", "+@all")
        root.execute_command("ACL", "SETUSER", "default", "off")
        yield url


async def test_an_app_is_logged_in_by_the_token(url: str, namespace: str) -> None:
    login = EntraLogin(Credential(token_of({"oid": IDENTITY})))
    app = App(url, credentials=login, settings=AppSettings(namespace=namespace))

    @app.task
    async def double(number: int) -> int:
        return 2 * number

    async with app, app.worker():
        assert await (await double.enqueue(2)).result(timeout=10) == 4
        assert await double.enqueue_sync(3).result(timeout=10) == 6


async def test_an_app_without_a_token_says_why(url: str) -> None:
    app = App(url, credentials=EntraLogin(Credential("opaque")))

    with pytest.raises(AuthenticationFailed, match="username="):
        await app.open()


#: A backend whose login is a token of its own making.
BACKEND = """
from castwork import App
from castwork.azure import EntraLogin
from tests.azure.test_entra_login import Credential, IDENTITY, token_of

app = App({url!r}, credentials=EntraLogin(Credential(token_of({{"oid": IDENTITY}}))))


@app.task
async def nothing() -> None: ...
"""


def test_the_commands_are_logged_in_as_the_app_is(url: str, tmp_path: Path) -> None:
    (tmp_path / "backend.py").write_text(BACKEND.format(url=url))
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-m", "castwork", "doctor", "backend", "--json"]

    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
    )

    found = {check["name"]: check for check in json.loads(run.stdout)}
    assert found["login"]["level"] == "ok"
    assert found["login"]["message"].startswith(f"user '{IDENTITY}' may do")
