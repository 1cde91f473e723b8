"""Azure: logs an App in to Azure Managed Redis with Microsoft Entra ID."""

from __future__ import annotations

import base64
import importlib.util
import inspect
import json
from typing import Protocol

from castwork.model.credentials import Credentials
from castwork.model.errors import AuthenticationFailed, DefinitionError
from castwork.model.safe_text import text_of

__all__ = ["SCOPE", "EntraLogin", "Token", "TokenCredential"]

#: What a token is asked for, in the public cloud.
SCOPE = "https://redis.azure.com/.default"

#: Characters that are told of why there is no token.
_REASON = 300


class Token(Protocol):
    """What azure-identity calls an `AccessToken`."""

    @property
    def token(self) -> str:
        """The token, three parts in base64."""

    @property
    def expires_on(self) -> int:
        """Unix time in seconds."""


class TokenCredential(Protocol):
    """A credential of azure-identity, or whatever has its method."""

    def get_token(self, *scopes: str) -> Token:
        """Return a token that lasts for some minutes at least; may block."""


class EntraLogin:
    """Logs in as an Entra ID identity: `App(url, credentials=EntraLogin())`.

    The token is asked for in a thread, when the App connects and well before the last token ends;
    live connections take the new token without a break.

    Args:
        credential: a credential of azure-identity, by default a `DefaultAzureCredential()`. It is
            called from threads of several event loops: the asynchronous kind is refused.
        username: object id of the identity, read from the token by default.
        scope: what the token is for; other clouds than the public one have others.

    Raises:
        DefinitionError: the credential is asynchronous, or none is given and azure-identity, of
            the extra `azure`, is not installed.
    """

    def __init__(
        self,
        credential: TokenCredential | None = None,
        *,
        username: str | None = None,
        scope: str = SCOPE,
    ) -> None:
        if credential is None and not _has_azure_identity():
            raise DefinitionError(
                "EntraLogin needs 'azure-identity': run `pip install 'castwork[azure]'`,"
                " or give a credential"
            )
        if inspect.iscoroutinefunction(getattr(credential, "get_token", None)):
            raise DefinitionError(
                "EntraLogin needs a credential of azure.identity, not of azure.identity.aio"
            )
        self._credential, self._is_default = credential, credential is None
        self._username = username
        self._scope = scope

    def __call__(self) -> Credentials:
        """Ask for a token; blocks.

        Raises:
            AuthenticationFailed: there is no token, or it names no identity.
        """
        try:
            if self._credential is None:
                self._credential = _default_credential()
            token = self._credential.get_token(self._scope)
        except Exception as error:
            # A chain of credentials says on a line each why each of them has none.
            reason = " ".join(text_of(error).split())[:_REASON]
            advice = "run `az login`, or give a credential: " if self._is_default else ""
            raise AuthenticationFailed(f"Entra ID gave no token: {advice}{reason}") from error
        user = self._username or _object_id(token.token)
        return Credentials(user, token.token, float(token.expires_on))


def _has_azure_identity() -> bool:
    try:
        return importlib.util.find_spec("azure.identity") is not None
    except ModuleNotFoundError:  # not even a package `azure`
        return False


def _default_credential() -> TokenCredential:
    # Loaded when used: it takes a good part of a second.
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415

    credential: TokenCredential = DefaultAzureCredential()
    return credential


def _object_id(token: str) -> str:
    """The claim `oid` in the middle part of a token, which is not checked: the server does that."""
    try:
        middle = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
        return str(claims["oid"])
    except (ValueError, LookupError, TypeError):
        raise AuthenticationFailed(
            "the token names no object id (`oid`): say EntraLogin(username=...)"
        ) from None
