"""The gateway: tasks and channels over HTTP, server-sent events and WebSockets.

The gateway does not know who calls: serve it on 127.0.0.1, or behind a proxy that checks callers.
"""

try:
    from castwork.gateway.app import create_gateway, gateway_lifespan, gateway_router
    from castwork.gateway.sse import Streams
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] == "castwork":
        raise
    raise ModuleNotFoundError(
        f"castwork.gateway needs {error.name!r}: run `pip install 'castwork[gateway]'`",
        name=error.name,
    ) from None

__all__ = ["Streams", "create_gateway", "gateway_lifespan", "gateway_router"]
