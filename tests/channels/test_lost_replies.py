"""Events whose receipts never arrive: each is sent again, and published once."""

from __future__ import annotations

import redis
from tests.proxy import Proxy

from castwork import App, AppSettings, Backoff, LinkSettings
from castwork.store.keys import ChannelKeys


async def test_events_are_published_once_each(
    proxy: Proxy, plain: redis.Redis, namespace: str
) -> None:
    link = LinkSettings(call_timeout=30.0, backoff=Backoff(base=0.02, longest=0.2))
    app = App(proxy.url, settings=AppSettings(namespace=namespace, link=link))
    news = app.channel("news", int, history=500)
    proxy.drop_every = 5
    for number in range(100):
        await news.publish(number)
    assert proxy.dropped >= 20
    stored = plain.xrange(ChannelKeys.of(namespace, "news").history)
    assert [int(fields[b"event"]) for _, fields in stored] == list(range(100))
    await app.close()
