"""Samples of a signal as they come: from a pipe or a port to lines, samples and windows."""
