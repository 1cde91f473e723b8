"""Login: the present user and password, fixed or from a source that renews them."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable

import msgspec

from castwork.model.errors import AuthenticationFailed

logger = logging.getLogger(__name__)


class Credentials(msgspec.Struct, frozen=True):
    """A user and a password. Neither `str` nor `repr` shows the password.

    Attributes:
        user: ACL user, None for the default one.
        password: the user's password or token.
        expires_at: Unix time in seconds at which they end, None if they do not.
    """

    user: str | None
    password: str
    expires_at: float | None = None

    def __repr__(self) -> str:
        return f"Credentials(user={self.user!r}, expires_at={self.expires_at})"

    @property
    def has_expired(self) -> bool:
        """Whether the server would refuse them."""
        return self.expires_at is not None and self.expires_at <= time.time()


#: Gives new credentials at each call; may take a while, and may fail.
Source = Callable[[], Awaitable[Credentials]]


class Login:
    """Keeps credentials that work, from before the first connection until `close`.

    Credentials of a source are renewed when 60 to 70 % of their life is over. A renewal that fails
    is tried again every `retry_after` seconds. Every renewal raises `generation`, and connections
    log in again.

    Args:
        fixed: credentials that never change; None for no login, or with a source.
        source: gives the credentials; asked once when they have no end.
        retry_after: seconds from a renewal that failed to the next try.
        patience: seconds that the source may take.
    """

    def __init__(
        self,
        fixed: Credentials | None = None,
        source: Source | None = None,
        *,
        retry_after: float = 30.0,
        patience: float = 20.0,
    ) -> None:
        self.is_renewed = source is not None
        self.retry_after = retry_after
        #: Called in the event loop when there are new credentials.
        self.on_renewed: list[Callable[[], None]] = []
        self._source = source
        self._patience = patience
        # One tuple, so that a thread never sees the generation of one login with the password of
        # another.
        self._current = (0, fixed)
        self._fetching: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    @property
    def generation(self) -> int:
        """Counts the renewals; safe to read from any thread."""
        return self._current[0]

    @property
    def current(self) -> tuple[int, Credentials | None]:
        """The generation and its credentials, None for no login; safe to read from any thread."""
        return self._current

    async def ready(self) -> tuple[int, Credentials | None]:
        """Like `current`, but asks the source first while there are no working credentials.

        Raises:
            AuthenticationFailed: the source gave none, or none in time.
        """
        credentials = self._current[1]
        if self._source is not None and (credentials is None or credentials.has_expired):
            await self.renew()
        return self._current

    async def renew(self) -> None:
        """Ask the source now; several callers at once share one question.

        Raises:
            AuthenticationFailed: the source gave none, or none in time.
        """
        if self._source is not None:
            await asyncio.shield(self._begin())

    def close(self) -> None:
        """Stop renewing."""
        self._is_closed = True
        self._schedule(None)
        if self._fetching is not None:
            self._fetching.cancel()

    def _begin(self) -> asyncio.Task[None]:
        if self._fetching is None:
            assert self._source is not None
            self._fetching = asyncio.ensure_future(self._fetch(self._source))
            self._fetching.add_done_callback(self._fetched)
        return self._fetching

    async def _fetch(self, source: Source) -> None:
        try:
            async with asyncio.timeout(self._patience):
                credentials = await source()
        except TimeoutError:
            raise AuthenticationFailed(
                f"the source of logins gave none within {self._patience:g} s"
            ) from None
        except Exception as error:
            raise AuthenticationFailed(f"the source of logins failed: {error}") from error
        if credentials.has_expired:
            raise AuthenticationFailed("the source of logins gave one that has expired")
        self._current = (self._current[0] + 1, credentials)
        self._schedule(_time_to_renewal(credentials))
        for callback in tuple(self.on_renewed):
            callback()

    def _fetched(self, task: asyncio.Task[None]) -> None:
        self._fetching = None
        if task.cancelled() or (error := task.exception()) is None or self._is_closed:
            return
        logger.warning("no new login, next try in %g s: %s", self.retry_after, error)
        self._schedule(self.retry_after)

    def _schedule(self, delay: float | None) -> None:
        """Renew after so many seconds, whatever was planned before; None for never."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if delay is not None and not self._is_closed:
            self._timer = asyncio.get_running_loop().call_later(delay, self._begin)


def _time_to_renewal(credentials: Credentials) -> float | None:
    """Seconds until 60 to 70 % of the life is over, drawn so that processes renew apart."""
    if credentials.expires_at is None:
        return None
    return max(0.0, credentials.expires_at - time.time()) * (0.7 - 0.1 * random.random())
