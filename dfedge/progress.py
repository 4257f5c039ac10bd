"""What a person likes to watch, a line at a time: `dfedge.cli.console` shows it on stderr."""

import logging
from collections.abc import Callable

PROGRESS = logging.getLogger("dfedge.progress")

Progress = Callable[[str, int, int], None]
"""Called with (what is going on, steps done, steps in all)."""
Count = Callable[[int, int], None]
"""Called with (done, in all), where what is going on is known."""
