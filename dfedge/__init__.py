"""dfedge: Distance-Forward learning that goes on, in integers, on the device."""

__version__ = "0.1.0"
