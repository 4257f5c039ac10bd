"""Real data as NumPy arrays: named sets, a user's own files, and the order they are shown in."""
