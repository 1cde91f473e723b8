"""The copy of the model that this process holds."""

from __future__ import annotations

import asyncio
import logging

from castwork.demo.model import SmallModel

logger = logging.getLogger(__name__)


class Weights:
    """Loads the model when it is first needed, and again when a new version is out.

    A process that never answers prompts, such as the gateway, never loads it.

    Attributes:
        versions: the newest version that this process has heard of, by the model's name.
    """

    def __init__(self) -> None:
        self.versions: dict[str, str] = {}
        self._model: SmallModel | None = None
        self._loading = asyncio.Lock()

    async def get(self) -> SmallModel:
        """The model, loaded once however many tasks ask for it."""
        async with self._loading:
            if self._model is None:
                self._model = await self._load()
            return self._model

    async def update(self, name: str, version: str) -> None:
        """Note the new version, drop the old copy and load again, if there was one.

        Answers that are under way keep the old copy, which is freed when the last of them ends.
        """
        self.versions[name] = version
        async with self._loading:
            if self._model is not None:
                self._model = None
                self._model = await self._load()

    async def _load(self) -> SmallModel:
        logger.info("loading the model")
        return await asyncio.to_thread(SmallModel)
