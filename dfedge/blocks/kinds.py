"""The table of kinds."""

from dfedge.blocks import conv, gain, inverted, linear, residual, separable
from dfedge.blocks.kind import Kind
from dfedge.plugins import Records

GROUP = "dfedge.blocks"
OWN = {
    "conv": conv.KIND,
    "separable": separable.KIND,
    "residual": residual.KIND,
    "inverted": inverted.KIND,
    "linear": linear.KIND,
    "gain": gain.KIND,
}
"""Those that come with dfedge.  An installed package adds one by an entry point of `GROUP`."""

KINDS = Records(OWN, GROUP, Kind)
