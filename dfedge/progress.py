"""What a person likes to watch, a line at a time: `dfedge.cli.console` shows it on stderr."""

import logging

PROGRESS = logging.getLogger("dfedge.progress")
