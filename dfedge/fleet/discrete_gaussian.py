"""Exact samples of the discrete Gaussian: integers x with probability ~ exp(-x^2 / (2 sigma^2)).

The algorithms of Canonne, Kamath and Steinke, "The discrete Gaussian for differential privacy"
(2020, arXiv 2004.00010): rejection from a discrete Laplace distribution, which is made of coins of
probability exp(-a / b).  All numbers are Python integers, so that no rounding of floats weakens
what the noise promises.
"""

import secrets
from collections.abc import Callable
from fractions import Fraction
from math import isqrt

Below = Callable[[int], int]
"""n -> an integer of 0..n-1, all of one probability."""


def discrete_gaussian(variance: Fraction, below: Below = secrets.randbelow) -> int:
    """One sample (Algorithm 3).

    Args:
        variance: sigma^2, above 0.
        below: where chance comes from; by default the operating system.
    """
    n, d = variance.numerator, variance.denominator
    t = isqrt(n // d) + 1
    while True:
        x = discrete_laplace(t, below)
        if bernoulli_exp((abs(x) * t * d - n) ** 2, 2 * n * t * t * d, below):
            return x


def discrete_laplace(t: int, below: Below) -> int:
    """An integer x with probability ~ exp(-|x| / t) (Algorithm 2)."""
    while True:
        u = below(t)
        if not bernoulli_exp(u, t, below):
            continue
        v = 0
        while bernoulli_exp(1, 1, below):
            v += 1
        x, negative = u + t * v, below(2)
        if x or not negative:  # else zero would come twice as often
            return -x if negative else x


def bernoulli_exp(a: int, b: int, below: Below) -> bool:
    """True with probability exp(-a / b) (Algorithm 1)."""
    while a > b:
        if not bernoulli_exp(1, 1, below):
            return False
        a -= b
    k = 1
    while below(b * k) < a:
        k += 1
    return k % 2 == 1
