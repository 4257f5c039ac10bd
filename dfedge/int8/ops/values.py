"""The numbers that the integer semantics is built on."""

ACTIVATION_MAX = 127
WEIGHT_MAX = 127
BIAS_MAX = 1 << 24
NO_PULL = 12
"""The shift beyond which nothing is left of eight times a difference of two activations."""
MARGIN_UNIT = 16
"""Margins are integers in sixteenths of the separation of two anchors."""
LEVELS_LOG = 3
LEVELS = 1 << LEVELS_LOG
"""How finely a violation of the margin is graded."""
LEVEL_STEP = 2
"""Of a level, in sixteenths of the separation of two anchors."""
ENERGY_MARGIN_UNIT = 256
"""Margins between energies are integers in 256ths of their sum."""
ENERGY_SHIFT = 10
"""Energies are compared in units of 2^10, so that 256 times a difference stays an int32."""
NORM_LEVELS = 255
"""The largest multiplier of `normalise`."""
