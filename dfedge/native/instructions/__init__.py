"""Bounds on the instructions of every call of an exported net, from its plan alone.

kernels.py     sets of kernels, and the tiles that they work in
forward.py     how often the bodies of a convolution's loops run
backward.py    the same of an update, and of an error that is carried down
trunk.py       the same of a frozen trunk's operations
bound.py       whole calls: counts times instructions.toml
"""
