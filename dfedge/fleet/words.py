"""Words that options take, apart from what they mean, so that help needs no array."""

EQUAL, GROUPS = "equal", "groups"
SPLIT_HELP = (
    f"{EQUAL}; classes:2, so many classes each; or {GROUPS}, a person (speaker, machine) each."
)
MEAN, CLIPPED, TRIMMED, MEDIAN = "mean", "clipped", "trimmed", "median"
RULE_HELP = f"{MEAN}; against bad devices {CLIPPED}, {TRIMMED} or {MEDIAN}."
ALL, ANCHORS = LEARN = ("all", "anchors")
LEARN_HELP = f"{ALL}, or {ANCHORS}: no weight moves."
