"""An AI backend on castwork, with a real model: read it, run it, copy it.

`app.py` has the tasks and the events, `api.py` the HTTP routes, `page.html` the page.
"""

from castwork.demo.api import api
from castwork.demo.app import app

__all__ = ["api", "app", "castwork_hints"]

#: What `castwork up` suggests to try once everything runs; `{url}` is the gateway's address.
castwork_hints = [
    "open {url}",
    """curl -s {url}/api/inference -H 'content-type: application/json' \\
      -d '{{"prompt": "Why is the sky blue?"}}'""",
    "curl -N {url}/tasks/TASK_ID/events",
    "curl -s {url}/api/process-document -F file=@README.md",
]
