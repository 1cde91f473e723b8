"""The gateway: tasks and channels over HTTP, server-sent events and WebSockets.

The gateway does not know who calls: serve it on 127.0.0.1, or behind a proxy that checks callers.
"""

from castwork.gateway.app import create_gateway, gateway_lifespan, gateway_router
from castwork.gateway.sse import Streams

__all__ = ["Streams", "create_gateway", "gateway_lifespan", "gateway_router"]
