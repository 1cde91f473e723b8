"""`castwork doctor`: is the server of an App fit, and are its queues and workers well?"""

from __future__ import annotations

import asyncio

import typer

from castwork.app import App
from castwork.cli.doctor.check import Check, Level, fail
from castwork.cli.doctor.login import check_login
from castwork.cli.doctor.servers import check_servers
from castwork.cli.doctor.work import check_work
from castwork.cli.failure import FAILED, one_line
from castwork.cli.loading import load_app
from castwork.cli.options import AppOption, Json, ModuleToo, Redis
from castwork.cli.output import print_json
from castwork.cli.session import join_embedded
from castwork.model.errors import CastworkError

_COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}


def doctor(
    module: ModuleToo = None, app: AppOption = None, redis: Redis = None, json: Json = False
) -> None:
    """Check the server, the queues and the workers.

    Exit code 1 if something is wrong.
    """
    loaded = load_app(module or app, redis)
    join_embedded(loaded)
    checks = asyncio.run(_examine(loaded))
    if json:
        print_json(checks)
    else:
        for check in checks:
            level = typer.style(f"{check.level.value:<5}", fg=_COLOURS[check.level])
            typer.echo(f"{level} {check.name:<12} {check.message}")
            if check.mend:
                typer.echo(f"{'':<18} mend: {check.mend}")
    if any(check.level is Level.FAIL for check in checks):
        raise typer.Exit(FAILED)


async def _examine(app: App) -> list[Check]:
    """All checks; where the server fails, the later ones are left out."""
    checks: list[Check] = []
    try:
        await app.connections.open(accept_unfit=True)
        for examine in (check_servers, check_login, check_work):
            checks += await examine(app)
    except CastworkError as error:
        checks.append(fail("server", one_line(error)))
    finally:
        await app.close()
    return checks
