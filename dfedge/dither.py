"""The dither of updates: one threshold for each weight, the same on the host and on devices.

    r[i, j, k] = (53685 i + 43977 j + 36025 k + phase) mod 2^16

a rank-one lattice over the last three axes of a tensor.  The phase, which is state, advances by
`GOLDEN` after every step, so that each weight sees an equidistributed (Weyl) sequence over time.
"""

GOLDEN = 40503
"""round(2^16 / golden ratio)."""
BITS = 16
MASK = (1 << BITS) - 1
LATTICE = (53685, 43977, 36025)
"""The fractional parts of 1/g, 1/g^2 and 1/g^3 (g^4 = g + 1) in units of 2^-16, made odd, so that
neighbours get far-apart thresholds."""
