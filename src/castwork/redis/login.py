"""Login: the present user and password, fixed or from a source that renews them."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Callable

from castwork.model.credentials import Credentials, CredentialSource
from castwork.model.dice import dice
from castwork.model.errors import AuthenticationFailed
from castwork.model.safe_text import text_of
from castwork.redis.threads import in_thread

logger = logging.getLogger(__name__)

#: Seconds before the end of a login from which on a source that still gives the same login is asked
#: every `retry_after` seconds: many sources keep a token until some minutes before its end.
_LAST_MINUTES = 240.0

#: Seconds that a login by token may take: the server may have to ask somebody else.
SLOW_LOGIN = 15.0


class Login:
    """Keeps credentials that work, from before the first connection until `close`.

    Credentials of a source are renewed when 60 to 70 % of their life is over. A renewal that fails
    is tried again every `retry_after` seconds. Every renewal that brings other credentials raises
    `generation`, and connections log in again.

    Args:
        fixed: credentials that never change; None for no login, or with a source.
        source: gives the credentials; asked again before their end, and when a server refuses
            them.
        retry_after: seconds from a renewal that failed to the next try.
        patience: seconds that the source may take.
    """

    def __init__(
        self,
        fixed: Credentials | None = None,
        source: CredentialSource | None = None,
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
        self._asked_at = 0.0
        self._is_refused = False
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
        works = credentials is not None and not credentials.has_expired and not self._is_refused
        if self._source is not None and not works:
            await self.renew()
        return self._current

    def refused(self, generation: int) -> None:
        """Note that a server refused the credentials of a generation: they may have been changed.

        The source is asked for others before the next connection, at most every `retry_after`
        seconds.
        """
        waited = time.monotonic() - self._asked_at
        if generation == self.generation and waited >= self.retry_after:
            self._is_refused = True

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

    async def _fetch(self, source: CredentialSource) -> None:
        self._asked_at = time.monotonic()
        try:
            async with asyncio.timeout(self._patience):
                credentials = await _ask(source)
        except TimeoutError:
            raise AuthenticationFailed(
                f"the source of logins gave none within {self._patience:g} s"
            ) from None
        except AuthenticationFailed:
            raise
        except Exception as error:
            raise AuthenticationFailed(f"the source of logins failed: {text_of(error)}") from error
        if credentials.has_expired:
            raise AuthenticationFailed("the source of logins gave one that has expired")
        self._is_refused = False
        generation, before = self._current
        if before is not None and before.logs_in_as(credentials):
            self._current = (generation, credentials)
            self._schedule(_time_to_next_look(credentials, self.retry_after))
            return
        self._schedule(_time_to_renewal(credentials))
        self._current = (generation + 1, credentials)
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


async def _ask(source: CredentialSource) -> Credentials:
    """Call a source of any kind."""
    kinds = (source, type(source).__call__)
    if any(inspect.iscoroutinefunction(kind) for kind in kinds):
        given = source()
    else:
        # The thread of a source that hangs must not keep the process from its end.
        given = await in_thread(source, name="castwork-login", is_daemon=True)
    if inspect.isawaitable(given):
        given = await given
    if not isinstance(given, Credentials):
        raise AuthenticationFailed(
            f"the source of logins gave no Credentials but {type(given).__name__}"
        )
    return given


def _time_to_renewal(credentials: Credentials) -> float | None:
    """Seconds until 60 to 70 % of the life is over, drawn so that processes renew apart."""
    if credentials.expires_at is None:
        return None
    return max(0.0, credentials.expires_at - time.time()) * (0.7 - 0.1 * dice.random())


def _time_to_next_look(credentials: Credentials, retry_after: float) -> float | None:
    """The same where the source gave once more what it had given before."""
    later = _time_to_renewal(credentials)
    if later is None or credentials.expires_at is None:
        return None
    return min(later, max(credentials.expires_at - time.time() - _LAST_MINUTES, retry_after))
