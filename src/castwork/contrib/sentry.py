"""Sentry: errors of attempts with their task, and one trace over enqueue and attempts.

Needs `pip install 'castwork[sentry]'`. Call `sentry_sdk.init(...)` as ever.
"""

from __future__ import annotations

from typing import Any

import sentry_sdk

from castwork import App, Call, CastworkError, Discard, Proceed, Retry, current

__all__ = ["instrument"]


def instrument(app: App) -> None:
    """Report exceptions of an app's attempts, and trace its enqueues and attempts.

    Every attempt that fails is reported, the ones that are tried again too: Sentry groups them.
    `Retry` and `Discard` are decisions, and no errors. Events have the tags `castwork.task`,
    `castwork.attempt`, `castwork.function`, `castwork.queue` and the task's owner as the user;
    arguments are not added, and may be among the local variables that Sentry takes from frames, see
    `include_local_variables` of `sentry_sdk.init`. The trace travels in the task's headers.
    """

    @app.around_enqueue
    async def enqueue(call: Call[Any], proceed: Proceed) -> Any:
        with sentry_sdk.start_span(op="queue.publish", name=call.function.name):
            if trace := sentry_sdk.get_traceparent():
                call.headers["sentry-trace"] = trace
            if baggage := sentry_sdk.get_baggage():
                call.headers["baggage"] = baggage
            return await proceed()

    @app.around_task
    async def attempt(call: Call[Any], proceed: Proceed) -> Any:
        with sentry_sdk.isolation_scope() as scope:
            _describe(scope, call)
            transaction = sentry_sdk.continue_trace(
                dict(call.headers), op="queue.process", name=call.function.name, source="task"
            )
            with sentry_sdk.start_transaction(transaction):
                try:
                    return await proceed()
                except (Retry, Discard):
                    raise
                except Exception as error:
                    sentry_sdk.capture_exception(error)
                    raise


def _describe(scope: sentry_sdk.Scope, call: Call[Any]) -> None:
    scope.set_tag("castwork.function", call.function.name)
    if call.owner:
        scope.set_user({"id": call.owner})
    try:
        here = current()
    except CastworkError:  # the one call of a batch is of several tasks
        return
    scope.set_tag("castwork.task", here.task_id)
    scope.set_tag("castwork.attempt", str(here.attempt))
    scope.set_tag("castwork.queue", here.queue)
