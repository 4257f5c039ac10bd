"""Kinds of local learning units, one file each.

A kind is the geometry of a unit's convolutions.  All else is made from it: the float module that is
trained (`dfedge.learn.units`), the plan (`dfedge.learn.skeleton`), and so the programs.  What
becomes of the convolutions is the same for every kind: each but the last ends in a ReLU, perhaps
the input is added, a last ReLU.
"""

from dfedge.blocks.block import Block
from dfedge.blocks.kind import Kind, same
from dfedge.blocks.kinds import GROUP, KINDS

__all__ = ["GROUP", "KINDS", "Block", "Kind", "same"]
