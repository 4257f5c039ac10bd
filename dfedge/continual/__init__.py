"""Continual learning on the device: a stream of experiences, learned inside the exported program.

What keeps memory of the past is a named strategy (`strategies`); a `guard` takes back what made the
device worse; the `gate` leaves out what is known well enough; rates follow the error inside the
program.  All of it is integers, a function of stream, settings and seed alone, and counted in
bytes: the same run on any runtime, stopped and resumed or not, ends in the same state.  No torch.
"""
