"""How much memory: planned, measured, and against a target."""
