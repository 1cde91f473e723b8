"""Django: database connections of plain functions, and enqueues that wait for the commit."""

from __future__ import annotations

from typing import Any

from django.db import close_old_connections, transaction

from castwork import App, Call, ProceedSync

__all__ = ["enqueue_on_commit", "instrument"]


def instrument(app: App) -> None:
    """Close database connections that are too old or broken around each plain function.

    Django does so around each request, by `CONN_MAX_AGE`; a worker has no requests. Connections
    belong to threads, and plain functions run in theirs. A coroutine function that asks the
    database does it by `sync_to_async`, in a thread of asgiref's: there it closes them itself.
    """

    @app.around_task
    def connections(call: Call[Any], proceed: ProceedSync) -> Any:
        close_old_connections()
        try:
            return proceed()
        finally:
            close_old_connections()


def enqueue_on_commit(call: Call[Any], *, using: str | None = None) -> None:
    """Enqueue a call when the transaction that is open is committed; at once without one.

    A worker then finds the rows that the transaction wrote; after a rollback there is no task. A
    process that dies between the commit and the enqueue leaves none, too. An error of the enqueue
    is raised where the transaction is committed, which it does not undo.

    Args:
        call: as `function.call(...)` or `function.options(...).call(...)`.
        using: the database, by its alias.
    """
    transaction.on_commit(call.enqueue_sync, using=using)
