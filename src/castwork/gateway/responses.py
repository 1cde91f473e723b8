"""Answers in JSON, encoded as everything else of castwork's."""

from __future__ import annotations

from fastapi import Response

from castwork.model.codec import encode


def json_response(value: object, status: int = 200) -> Response:
    """A value as a response."""
    return Response(encode(value), status, media_type="application/json")
