"""What the processes of the demo tell each other, and the setting that they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


@dataclass(frozen=True)
class DocumentEvent:
    """Something happened to a document."""

    event: Literal["document_received", "document_processed", "document_failed"]
    document_id: str
    filename: str
    task_id: str
    pages: int = 0
    chunks: int = 0
    words: int = 0
    error: str = ""


@dataclass(frozen=True)
class ModelUpdated:
    """A model has a new version."""

    name: str
    version: str


@dataclass(frozen=True)
class Charge:
    """A document was billed."""

    document_id: str
    filename: str
    cents: int


@dataclass(frozen=True)
class QueueDepth:
    """Tasks that wait or run, by queue."""

    depth: dict[str, int]


class Sampling(BaseModel):
    """How the model answers. Pydantic models work wherever dataclasses do."""

    model_config = ConfigDict(extra="forbid")

    temperature: Annotated[float, Field(ge=0, le=2)] = 0.3
    max_tokens: Annotated[int, Field(ge=1, le=1024)] = 256
