"""One file (or room) a format, and the writer of bundles."""
