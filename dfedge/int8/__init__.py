"""One integer semantics, the same bits everywhere.

This package is the definition; `dfedge.manifest.SEMANTICS_VERSION` (8) names it.

Numbers
    Pixels, activations h, pooled features p and anchors A are int8 in 0..127; weights int8 in
    -127..127; errors int8 in -127..127; biases (within 2^24), accumulators and scores int32.
    Scales are powers of two: an exponent f says ``integer = real * 2^f``.  There is no
    normalisation: it is folded before.

A convolution (any kernel, stride and padding; depthwise; a linear layer is one without padding)
    h = min(127, (max(0, conv(x, w) + b) + 2^(s-1)) >> s)          round half up
A residual layer adds two accumulators, each shifted left to one scale, before that line.

Goodness, one-pass form
    p = min(127, (2^gain 2 sum + n) // (2 n))  over each of cells x cells cells   round half up
    score_k = 2 p.A_k - |A_k|^2                        distance, sign turned, |p|^2 left out
    a net's score is the sum of its layers' scores, each shifted left by its score_shift

Its error
    k* = the live wrong class with the largest score, the first among equals
    D = |A_k* - A_y|^2,  v = 16 (score_k* - score_y) + margin D
    level = how many j in 0..7 have  v > 2 j D      0: the margin is kept, nothing moves
    e = clamp(level (A_k* - A_y + (p - A_y) / 2^pull)), rounded half away from zero, the same in
    every position of a cell where h > 0
    Three departures from the host's hinge, because a layer here has no normalisation that would
    keep it from meeting its margin by growing: the step is graded (a squared hinge that saturates),
    an active sample is pulled to its own anchor (the paper's lambda, 2^-pull), and anchors no
    longer repel once D >= separation.  Over thousands of steps a plain hinge was not stable.

Goodness, label-plane form
    the image is joined with a label's plane, as its positive and its negative part
    g = sum h^2; what goes on is min(127, (h m + 2^(s-1)) >> s), m = floor(sqrt(norm / g)) <= 255
    N wrong labels are drawn from the live ones by the dither; k* = the one of highest g
    active  where  256 (g_k* - g_y) + margin (g_k* + g_y) > 0, g in units of 2^10
    e = -h on the right label's copy, +h on the copy of k*, 0 on all others

How far an error reaches
    df: no further than its layer.  df-o: a layer's own error also goes down through its weights
    (df-r: through fixed random ones, df-r-concordant: with the weights' signs) into the layer right
    below, is added there to that layer's own, saturating, and stops.  Through a convolution:
    e_in = sign(v) min(127, (|v| + 2^(s-1)) >> s), v the transposed convolution of e; zero where the
    ReLU was; through a maximum to all positions that held it.

Learning, every layer with its old weights
    w <- clamp(w - R(corr(x, e), weight_shift)); biases stay
    A_k <- clamp(A_k + R(sum c_k (p - A_k), anchor_shift)),  c = level at y, at k* -level where
    D < separation, else 0; anchors are clamped to 0..127

Rounding of updates
    R(v, s) = sign(v) (((|v| >> (s - t)) + r) >> t), t = min(s, 24), r in [0, 2^t) from a dither
    that is a function of the element's place and of the step's phase alone (`rounding.dither`): on
    average exact, no random numbers, no negative number ever shifted.  Shifts reach to 48, by which
    nothing is left of an int32: what they steer is frozen.  Weights are int8 alone: int16 masters,
    rounded to nearest, reached the same accuracy after 10,000 steps
    (examples/experiments/rounding.py).

Pace
    The weights' and anchors' shifts grow by up to `pace` while hardly more samples are misjudged
    than is usual (`dfedge.compile.pace`): rates follow that excess, from a sixteenth of the full
    ones to all.

State
    `dfedge.compile.state`: weights, biases, anchors or planes, feedback, the mask of live classes,
    the shifts (the learning rates, read by every step), the dither's phase, the error,
    the usual error and the pace.

Trunk, of an adopted net (`dfedge.trunk`): frozen operations before the first layer
    A value q in 0..127 stands for ``(q - zero) / scale``, both of its own.  What an operation
    computes stands in its own file of `dfedge.operations`.  Any function of one value is a table
    of 128 entries; in a convolution the shift is a channel's own; in a sum, a product or a mean
    integer factors over 2^s bring scales together.

Modules: `ops` (definitions), `stock` (the same in operators of any runtime), `rounding`, `scales`,
`bounds` (what sizes this arithmetic holds), `trunk` (an adopted net's frozen part).
"""
