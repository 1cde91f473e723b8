"""Credentials: whom a connection logs in as, and the callables that give and renew them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import msgspec


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

    def logs_in_as(self, other: Credentials) -> bool:
        """Whether user and password are the same; sources round the end now up and now down."""
        return (self.user, self.password) == (other.user, other.password)


#: Gives credentials at each call, those of the last call while they are good; may fail, and may
#: take a while: a plain function is called in a thread, a coroutine function on the event loop.
CredentialSource = Callable[[], Credentials | Awaitable[Credentials]]
