"""Whether the login of an App may do what the App does."""

from __future__ import annotations

from castwork.app import App
from castwork.cli.doctor.check import Check, fail, fine, warn
from castwork.store.probes import OPTIONAL
from castwork.store.rights import Rights, Uses, examine_rights


async def check_login(app: App) -> list[Check]:
    """Try each command in a form that changes nothing, on keys and channels of the App.

    Raises:
        ConnectionFailed: no server in time.
    """
    uses = Uses(
        namespace=app.settings.namespace,
        queues=[store.place for store in app.served()],
        kept=[channel.name for channel in app.channels.values() if channel.has_history],
        settings=list(app.shared_settings),
        plain=[channel.name for channel in app.channels.values() if not channel.has_history],
    )
    return [_judge(await examine_rights(app.connections, uses))]


def _judge(rights: Rights) -> Check:
    who = f"user {rights.user!r}" if rights.user else "the user"
    missing = [
        f"{what} {', '.join(names)}"
        for what, names in (
            ("run", rights.commands),
            ("write keys", rights.keys),
            ("hear channels", rights.channels),
        )
        if names
    ]
    if not missing:
        return fine("login", f"{who} may do what this app does")
    text = f"{who} may not {'; nor '.join(missing)}"
    if rights.keys or rights.channels or not OPTIONAL.issuperset(rights.commands):
        return fail("login", f"{text}: calls will fail", _mend(rights))
    return warn("login", f"{text}: castwork works without, with less comfort", _mend(rights))


def _mend(rights: Rights) -> str:
    rules = [f"+{name.lower()}" for name in rights.commands]
    rules += [f"~{pattern}" for pattern in rights.keys]
    rules += [f"&{channel}" for channel in rights.channels]
    return f"ACL SETUSER {rights.user or '<user>'} {' '.join(rules)}"
