"""The whole route on embedded data, and its report."""
