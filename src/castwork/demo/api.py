"""The HTTP side of the demo: castwork's gateway, and the routes of this backend beside it."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, HTTPException, UploadFile
from pydantic import BaseModel, Field

from castwork import CastworkError, Delivered
from castwork.demo.app import (
    MAX_FILE,
    analytics,
    app,
    billing,
    documents,
    infer,
    models,
    process_document,
    sampling,
    weights,
)
from castwork.demo.events import Charge, DocumentEvent, ModelUpdated, Sampling
from castwork.gateway import create_gateway

logger = logging.getLogger(__name__)

charges: dict[str, Charge] = {}  # by document: a document that was billed twice counts once


class Prompt(BaseModel):
    """A prompt for the model."""

    prompt: str = Field(min_length=1, max_length=20_000)
    model: str = "small"
    user_id: str = ""
    priority: Literal["high", "normal", "low"] = "normal"


class NewVersion(BaseModel):
    """A version of a model."""

    version: str | int


async def add_up_charges() -> None:
    """Follows the billing channel from the begin of its history, for as long as this runs."""
    after = "0"
    while True:
        try:
            async for item in billing.listen(after):
                if isinstance(item, Delivered):
                    after, charges[item.value.document_id] = item.id, item.value
        except CastworkError as error:
            logger.warning("the ledger waits: %s", error)
            await asyncio.sleep(1)


@asynccontextmanager
async def keep_ledger(_: Any) -> AsyncIterator[None]:
    """Keeps the ledger while the gateway runs."""
    keeper = asyncio.create_task(add_up_charges())
    yield
    keeper.cancel()


router = APIRouter(prefix="/api", tags=["demo"], lifespan=keep_ledger)


@router.post("/inference", status_code=202)
async def start_inference(body: Prompt) -> dict[str, str]:
    """Queues a prompt. The answer streams at `/tasks/{task_id}/events`."""
    call = infer.options(priority=body.priority)
    task = await call.enqueue(body.prompt, body.model, body.user_id)
    return {"task_id": task.id, "status": "queued"}


@router.post("/process-document", status_code=202)
async def upload_document(file: UploadFile) -> dict[str, str]:
    """Queues a text or PDF file, and tells everyone at once that the file has come."""
    content = await file.read(MAX_FILE + 1)
    if len(content) > MAX_FILE:
        raise HTTPException(413, f"a document may have {MAX_FILE:,} bytes")
    if not content:
        raise HTTPException(422, "the document is empty")
    document_id, filename = f"doc-{secrets.token_hex(6)}", file.filename or "document"
    task = await process_document.enqueue(document_id, filename, content)
    received = DocumentEvent("document_received", document_id, filename, task.id)
    await documents.publish(received)
    return {"task_id": task.id, "document_id": document_id, "status": "queued"}


@router.put("/models/{name}")
async def update_model(name: str, body: NewVersion) -> dict[str, Any]:
    """Has every process drop its copy of a model, and says which have."""
    receipt = await models.publish(ModelUpdated(name, str(body.version)))
    applied = await receipt.applied(timeout=5)
    return {"model": name, "version": str(body.version), **asdict(applied)}


@router.get("/models")
async def list_models() -> dict[str, str]:
    """The versions that this process has heard of."""
    return weights.versions


@router.get("/settings")
async def read_settings() -> Sampling:
    """The settings, out of this process's memory."""
    return sampling.value


@router.put("/settings")
async def change_settings(body: Sampling) -> dict[str, Any]:
    """Changes what the body names, in every process, and says which processes have the change."""
    changed = sampling.value.model_copy(update=body.model_dump(exclude_unset=True))
    receipt = await sampling.set(changed)
    applied = await receipt.applied(timeout=5)
    return {"settings": changed.model_dump(), **asdict(applied)}


@router.get("/billing")
async def read_billing() -> dict[str, Any]:
    """What was charged, each document once."""
    total = sum(charge.cents for charge in charges.values())
    return {"documents": len(charges), "cents": total, "charges": list(charges.values())}


@router.get("/analytics")
async def read_analytics() -> dict[str, int]:
    """The document events that this process has counted."""
    return dict(analytics)


api = create_gateway(
    app,
    title="castwork demo",
    max_body=MAX_FILE + 100_000,  # room for the form around the file
    page=Path(__file__).with_name("page.html"),
)
api.include_router(router)
