"""One integer semantics, the same bits everywhere.

This package is the definition; `dfedge.bundle.SEMANTICS_VERSION` (1) names it.

Numbers
    Pixels, activations h, pooled features p and anchors A are int8 in 0..127; weights int8 in
    -127..127; biases, accumulators and scores int32.  Scales are powers of two: an exponent f says
    ``integer = real * 2^f``.  There is no normalisation: it is folded before.

A layer, forward
    h = min(127, (max(0, conv(x, w) + b) + 2^(s-1)) >> s)          round half up
    p = (2 sum + n) // (2 n)  over each of cells x cells cells      round half up
    score_k = 2 p.A_k - |A_k|^2                        distance, sign turned, |p|^2 left out
    a net's score is the sum of its layers' scores, each shifted left by its score_shift

A layer, learning from its own error (one-pass Distance-Forward, lambda = 0)
    k* = the live wrong class with the largest score, the first among equals
    active  where  16 (score_k* - score_y) + margin |A_k* - A_y|^2 > 0
    e = active (A_k* - A_y), the same in every position of a cell where h > 0
    w <- clamp(w - R(corr(x, e), weight_shift))
    b <- clamp(b - R(sum e, bias_shift))
    A_y <- A_y + R(sum (p - A_y), anchor_shift),  A_k* <- A_k* - R(sum (p - A_k*), anchor_shift)
    both sums of an anchor are added before the one rounding; anchors are clamped to 0..127

Rounding of updates
    R(v, s) = sign(v) ((|v| + r) >> s), r in [0, 2^s) from a dither that is a function of the
    element's place and of the step's phase alone (`rounding.dither`): on average exact, no random
    numbers, no negative number ever shifted.

Modules: `ops` (definitions), `stock` (the same in operators of any runtime), `rounding`, `scales`,
`bounds` (what sizes this arithmetic holds).
"""
