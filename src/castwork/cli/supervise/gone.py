"""What a supervisor knows first: that a worker's process is gone."""

from __future__ import annotations

from castwork.app import App


async def give_back(app: App, mark: str, *, lease: float) -> int:
    """End the leases of the worker of this start, so that its tasks come back at once.

    The process must have ended: while code runs, its lease must last.

    Args:
        app: the App whose queues the worker served, open.
        mark: what the supervisor called the start of the worker.
        lease: seconds that the worker's leases lasted.

    Returns:
        How many tasks the worker held.

    Raises:
        ServerError: the server could not be asked; the leases run out by themselves.
    """
    gone = [one["id"] for one in await app.workers() if one["mark"] == mark]
    return sum(
        [
            await store.claims(worker_id).abandon(lease_ms=int(lease * 1000))
            for worker_id in gone
            for store in app.served()
        ]
    )
