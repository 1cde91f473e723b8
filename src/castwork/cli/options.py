"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

_APP_VARIABLE = "CASTWORK_APP"


def env(option: str) -> str:
    """The variable that says an option of workers."""
    return f"CASTWORK_WORKER_{option.upper()}"


Module = Annotated[
    str,
    typer.Argument(metavar="MODULE[:APP]", envvar=_APP_VARIABLE, help="Where the App is."),
]
ModuleToo = Annotated[
    str | None, typer.Argument(metavar="[MODULE[:APP]]", help="Where the App is; or --app.")
]
AppOption = Annotated[
    str | None,
    typer.Option("--app", metavar="MODULE[:APP]", envvar=_APP_VARIABLE, help="Where the App is."),
]
Redis = Annotated[
    str | None,
    typer.Option(
        "--redis",
        metavar="URL",
        help="Server to use instead of the App's own; without a login, as others can read it.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Queues = Annotated[
    str | None,
    typer.Option(
        "--queues",
        metavar="A,B",
        envvar=env("queues"),
        help="Queues to serve, the first one first; all by default.",
    ),
]
Concurrency = Annotated[
    int | None,
    typer.Option(
        "--concurrency",
        min=1,
        envvar=env("concurrency"),
        help="Tasks that run at once, of all queues.",
    ),
]
Lease = Annotated[
    float | None,
    typer.Option(
        "--lease",
        metavar="SECONDS",
        envvar=env("lease"),
        help="How soon a lost worker's tasks come back.",
    ),
]
Grace = Annotated[
    float | None,
    typer.Option(
        "--grace",
        metavar="SECONDS",
        envvar=env("grace"),
        help="What running tasks get to finish on stop.",
    ),
]
Burst = Annotated[
    bool, typer.Option("--burst", envvar=env("burst"), help="End when nothing waits any more.")
]
MaxTasks = Annotated[
    int | None,
    typer.Option("--max-tasks", min=1, envvar=env("max_tasks"), help="End after so many."),
]
MaxMemory = Annotated[
    int | None,
    typer.Option(
        "--max-memory", metavar="MB", min=1, envvar=env("max_memory"), help="End above that."
    ),
]
PoolSize = Annotated[
    int | None,
    typer.Option(
        "--pool-size",
        min=0,
        envvar=env("pool_size"),
        help='Child processes for run_in="process"; 0: one a core.',
    ),
]
PoolMaxTasks = Annotated[
    int | None,
    typer.Option(
        "--pool-max-tasks",
        min=0,
        envvar=env("pool_max_tasks"),
        help="Replace such a process after so many tasks.",
    ),
]
PoolMaxMemory = Annotated[
    int | None,
    typer.Option(
        "--pool-max-memory",
        metavar="MB",
        min=0,
        envvar=env("pool_max_memory"),
        help="Replace it once it has more memory.",
    ),
]
HealthPort = Annotated[
    int | None,
    typer.Option("--health-port", envvar=env("health_port"), help="Answer probes at this port."),
]
HealthFile = Annotated[
    str | None,
    typer.Option(
        "--health-file",
        metavar="FILE",
        envvar=env("health_file"),
        help="Touch this file each second while all is well.",
    ),
]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error", "critical"] | None,
    typer.Option(
        "--log-level",
        envvar="CASTWORK_LOG_LEVEL",
        case_sensitive=False,
        show_default=False,
        help="From which level on to log; info has a line for each attempt.",
    ),
]
LogFormat = Annotated[
    Literal["text", "json"],
    typer.Option(
        "--log-format",
        envvar="CASTWORK_LOG_FORMAT",
        case_sensitive=False,
        help="Lines for people, or a JSON object each.",
    ),
]
Reload = Annotated[
    bool,
    typer.Option(
        "--reload/--no-reload",
        show_default=False,
        help="Start again when a Python file changes; for development.",
    ),
]
Host = Annotated[str, typer.Option("--host", help="Address to listen on.")]
Port = Annotated[int, typer.Option("--port", help="Port to listen on; 0 for any free one.")]
Data = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="Keep the data in this folder.")
]
ChannelName = Annotated[str, typer.Argument(metavar="CHANNEL", help="Name of the channel.")]
Lifeline = Annotated[int | None, typer.Option("--lifeline", hidden=True)]
Mark = Annotated[str, typer.Option("--mark", hidden=True)]
