"""Webhooks: posts how tasks have ended as JSON, signed as https://www.standardwebhooks.com says.

Needs `pip install 'castwork[webhooks]'`.
"""

from __future__ import annotations

import base64
import hmac
import time
from collections.abc import Callable, Mapping
from typing import Literal

import httpx
import msgspec

from castwork import App, TaskStatus

__all__ = ["post_ends", "sign", "verify"]

#: How a task may end.
Final = Literal["succeeded", "failed", "dead", "cancelled", "expired"]

#: Seconds that the other side gets to answer.
_PATIENCE = 10.0


def post_ends(
    app: App,
    url: str | Callable[[TaskStatus], str | None],
    secret: bytes,
    *states: Final,
    client: httpx.AsyncClient | None = None,
) -> None:
    """Post the final status of each task, at least once: until the answer is 2xx, ten times.

    The body is the `TaskStatus`. The header `webhook-id` is the same each time, so that the
    receiver knows what it has had. Redirects are not followed.

    Args:
        app: before its workers start.
        url: where to, or a function that says so of a task; None for nowhere. Where the caller of a
            task names the URL, let the function refuse addresses of your own network.
        secret: both sides know it; at least 24 random bytes.
        states: how tasks end that are told; all by default.
        client: with proxies, certificates or timeouts of your own.

    Raises:
        ValueError: the secret is short.
    """
    if len(secret) < 24:
        raise ValueError("the secret of webhooks has at least 24 bytes: os.urandom(32)")

    async def post(status: TaskStatus) -> None:
        target = url if isinstance(url, str) else url(status)
        if target is None:
            return
        body = msgspec.json.encode(status)
        headers = sign(secret, f"{status.task_id}:{status.status.value}", body)
        if client is not None:
            answer = await client.post(target, content=body, headers=headers)
        else:
            async with httpx.AsyncClient(timeout=_PATIENCE) as own:
                answer = await own.post(target, content=body, headers=headers)
        answer.raise_for_status()

    app.on_end(*states)(post) if states else app.on_end(post)


def sign(secret: bytes, id: str, body: bytes, *, now: float | None = None) -> dict[str, str]:  # noqa: A002
    """The headers of a signed message.

    Args:
        secret: both sides know it.
        id: the same for each repetition of a message.
        body: what is signed, with the id and the time.
        now: seconds since 1970; the present by default.
    """
    at = str(int(time.time() if now is None else now))
    return {
        "content-type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": at,
        "webhook-signature": f"v1,{_digest(secret, id, at, body)}",
    }


def verify(
    secret: bytes, headers: Mapping[str, str], body: bytes, *, tolerance: float = 300.0
) -> bool:
    """Whether a message is signed with the secret, and not older or newer than the tolerance.

    Args:
        secret: both sides know it.
        headers: those of the request, with names in lower case or in any case if they find both.
        body: the request's body, as it came.
        tolerance: seconds.
    """
    id_, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not at.isdecimal() or abs(time.time() - int(at)) > tolerance:
        return False
    expected = f"v1,{_digest(secret, id_, at, body)}".encode()
    given = headers.get("webhook-signature", "").split(" ")
    return any(hmac.compare_digest(one.encode(), expected) for one in given)


def _digest(secret: bytes, id_: str, at: str, body: bytes) -> str:
    signed = hmac.digest(secret, b"%b.%b.%b" % (id_.encode(), at.encode(), body), "sha256")
    return base64.b64encode(signed).decode()
