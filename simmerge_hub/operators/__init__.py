"""THE ARITHMETIC: pure functions on tensors, one family a file, one registry."""

from simmerge_hub.operators import averaging, consensus, selection, spherical, stock
from simmerge_hub.operators.arms import (
    Arm,
    arm,
    as_rows,
    known_arm,
    merge_tensors,
    stack_inputs,
)
from simmerge_hub.operators.checking import check
from simmerge_hub.operators.registry import (
    GLOBAL,
    OPERATORS,
    Operator,
    Place,
    combine,
    find,
    measure,
    measures_model,
    space_of,
)
from simmerge_hub.operators.regression import deltas, regmean
from simmerge_hub.operators.regression.inputs import LayerInputs, add_inputs, reduce_inputs

__all__ = [
    "ARMS",
    "BALANCED",
    "FED_ARMS",
    "GLOBAL",
    "OPERATORS",
    "PAPER_ARMS",
    "Arm",
    "LayerInputs",
    "Operator",
    "Place",
    "add_inputs",
    "arm",
    "as_rows",
    "averaging",
    "check",
    "combine",
    "consensus",
    "deltas",
    "find",
    "known_arm",
    "measure",
    "measures_model",
    "merge_tensors",
    "reduce_inputs",
    "regmean",
    "selection",
    "space_of",
    "spherical",
    "stack_inputs",
    "stock",
]

PAPER_ARMS = (known_arm("linear"), known_arm("slerp"), known_arm("ties", density=0.2))
"""The three operators SimMerge chooses between."""

ARMS = (
    *PAPER_ARMS,
    known_arm("linear", weights=(0.7, 0.3)),
    known_arm("linear", weights=(0.3, 0.7)),
    known_arm("nuslerp"),
    known_arm("ties", density=0.5),
    known_arm("ties", density=1.0),
    known_arm("task_arithmetic", scale=1.0),
    known_arm("task_arithmetic", scale=0.7),
    known_arm("task_arithmetic", scale=0.4),
    known_arm("task_arithmetic", weights=(1.0, 0.4)),
    known_arm("task_arithmetic", weights=(0.4, 1.0)),
    known_arm("task_arithmetic", weights=(1.0, 0.6)),
    known_arm("task_arithmetic", weights=(0.6, 1.0)),
    known_arm("dare_ties", density=0.5),
    known_arm("sce", density=0.5),
    known_arm("delta_regmean", alpha=0.9),
    known_arm("delta_regmean", alpha=0.9, weights=(0.7, 0.3)),
    known_arm("delta_regmean", alpha=0.9, weights=(0.3, 0.7)),
)
"""The arms on weights alone that are measured and predicted: closed under swapping the models."""

FED_ARMS = (
    known_arm("regmean", alpha=0.9),
    known_arm("regmean", alpha=0.98, inputs="merge"),
    known_arm("regmean", alpha=0.98, inputs="merge", weights=(0.7, 0.3)),
    known_arm("regmean", alpha=0.98, inputs="merge", weights=(0.3, 0.7)),
)
"""Those that look at what the models' layers are fed; closed in the same way."""

BALANCED = tuple(one for one in ARMS if one == one.swapped() and find(one.operator).on_samples)
"""Those on weights alone that treat both models alike and that sampled rows tell of: what a bandit
chooses between."""
