"""Two signatures and their base's -> named numbers, the same ones whatever the architecture.

Every number is dimensionless in width, depth, vocabulary and probe length. NaN means missing: no
base, no probes, other tokens, a block the model has not. It is never filled in.
"""

from dataclasses import dataclass

import numpy as np

from simmerge_hub.signatures.features import functional, structural
from simmerge_hub.signatures.features.context import Pair
from simmerge_hub.signatures.features.registry import REGISTRY, Feature
from simmerge_hub.signatures.merged.effects import EFFECTS
from simmerge_hub.signatures.signing.signature import Signature

FEATURE_SCHEMA = 1
"""Raised whenever a feature is added, removed, moved or computed otherwise."""
FEATURE_FAMILIES = {
    structural.__name__.rpartition(".")[2]: "Weights and deltas",
    functional.__name__.rpartition(".")[2]: "Behaviour on the probes",
}
FEATURE_NAMES = tuple(REGISTRY)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """What a predictor sees of one pair: `values` float64, in the order of `names`."""

    names: tuple[str, ...]
    values: np.ndarray
    schema: int

    def __getitem__(self, name: str) -> float:
        return float(self.values[self.names.index(name)])


def features(
    expert: Signature, auxiliary: Signature, base: Signature | None, task: str
) -> Features:
    """The features of an ordered pair on a task.

    Args:
        expert: the model that is good at the task.
        auxiliary: the model it is merged with.
        base: what both were fine-tuned from; features that need it are missing without.
        task: whose sketches are compared; behaviour is missing where a model has none, or where
            two tokenizers read the prompts differently.

    Raises:
        SignatureError: signatures of different settings or probe sets.
    """
    pair = Pair(expert=expert, auxiliary=auxiliary, base=base, task=task)
    values = [
        feature.compute(pair) if feature.needs <= pair.available else np.nan
        for feature in REGISTRY.values()
    ]
    return Features(
        names=FEATURE_NAMES,
        values=_drop_unusable(np.array(values, np.float64)),
        schema=FEATURE_SCHEMA,
    )


def page() -> str:
    """`docs/reference/features.md`, generated from the registry."""
    lines = [
        "# Features",
        "",
        f"Schema {FEATURE_SCHEMA}, {len(REGISTRY)} features. "
        "A *pair* is an expert and an auxiliary;",
        "*missing* means NaN, never a made-up number. `swap` says what a feature becomes when the",
        "two models change places. This page is generated from the registry.",
    ]
    for family, title in FEATURE_FAMILIES.items():
        members = [f for f in REGISTRY.values() if f.family == family]
        lines += ["", f"## {title}", "", "| feature | what it is | needs | swap |"]
        lines += ["|---|---|---|---|", *map(_row, members)]
    lines += [
        "",
        "## What an arm does to a pair",
        "",
        "| effect | what it is | needs |",
        "|---|---|---|",
    ]
    for name, effect in EFFECTS.items():
        needs = "base" if effect.base else "weights only"
        lines.append(f"| `{name}` | {effect.summary.rstrip('.')} | {needs} |")
    return "\n".join(lines) + "\n"


def _row(feature: Feature) -> str:
    needs = ", ".join(sorted(feature.needs)) or "weights only"
    swap = f"`{feature.swap}`" if feature.swap in REGISTRY else feature.swap
    return f"| `{feature.name}` | {feature.summary.rstrip('.')} | {needs} | {swap} |"


def _drop_unusable(values: np.ndarray) -> np.ndarray:
    """Missing where a number is none, or too large for the float32 of predictors."""
    return np.where(np.abs(values) <= np.finfo(np.float32).max, values, np.nan)
