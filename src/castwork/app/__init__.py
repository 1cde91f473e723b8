"""App: what users begin with."""

from castwork.app.app import App

__all__ = ["App"]
