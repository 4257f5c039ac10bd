"""Words that options take, apart from what they mean, so that help needs no array."""

EQUAL, GROUPS = "equal", "groups"
SPLIT_HELP = (
    f"Shares: {EQUAL}; classes:2 (two classes per device); or {GROUPS} (one person, speaker or "
    "machine per device)."
)
MEAN, CLIPPED, TRIMMED, MEDIAN = "mean", "clipped", "trimmed", "median"
RULE_HELP = f"Rule: {MEAN}; or {CLIPPED}, {TRIMMED} or {MEDIAN} against bad devices."
DP_DELTA = 1e-5
ALL, ANCHORS = LEARN = ("all", "anchors")
LEARN_HELP = f"What learns: {ALL}, or {ANCHORS} (no weight moves)."
