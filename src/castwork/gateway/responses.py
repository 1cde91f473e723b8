"""Responses in JSON, encoded as all of castwork's JSON."""

from __future__ import annotations

from fastapi import Response

from castwork.model.codec import encode


def json_response(value: object, status: int = 200) -> Response:
    """A value as a response."""
    return Response(encode(value), status, media_type="application/json")
