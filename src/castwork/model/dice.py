"""Random numbers of castwork's own, for waits that should differ from process to process.

Python's shared generator is left alone: programs that seed it, as tests do, keep their sequence,
although castwork's threads draw whenever they need to.
"""

from __future__ import annotations

import os
from random import Random

#: Draws what need not be secret.
dice = Random()

os.register_at_fork(after_in_child=dice.seed)
