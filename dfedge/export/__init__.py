"""One file a format, the parity check, and the writer of bundles."""
