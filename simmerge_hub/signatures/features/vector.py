"""Two signatures and their base's -> named numbers, the same ones whatever the architecture.

Every number is dimensionless in width, depth, vocabulary and probe length. NaN means missing: no
base, no probes, other tokens, a block the model has not. It is never filled in.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from simmerge_hub.signatures.features import doses, functional, structural
from simmerge_hub.signatures.features.context import Needs, Pair
from simmerge_hub.signatures.features.registry import OPTIONAL, REGISTRY, Feature
from simmerge_hub.signatures.measures.remembered import remember
from simmerge_hub.signatures.merged.effects import EFFECTS
from simmerge_hub.signatures.probing.dosing.response import Cross
from simmerge_hub.signatures.signing.signature import Signature

FEATURE_SCHEMA = 1
"""Raised whenever a feature, unless it is optional, is added, removed, moved or changed."""
FEATURE_FAMILIES = {
    structural.__name__.rpartition(".")[2]: "Weights and deltas",
    functional.__name__.rpartition(".")[2]: "Behaviour on the probes",
    doses.__name__.rpartition(".")[2]: "Dose and response",
}
FEATURE_NAMES = tuple(REGISTRY)
"""What every predictor of this schema is given."""
KNOWN = MappingProxyType(REGISTRY | OPTIONAL)
"""Every feature, those included that a predictor may have been trained without."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """What a predictor sees of one pair: `values` float64, in the order of `names`."""

    names: tuple[str, ...]
    values: np.ndarray
    schema: int

    def __getitem__(self, name: str) -> float:
        return float(self.values[self.names.index(name)])


def features(
    expert: Signature,
    auxiliary: Signature,
    base: Signature | None,
    task: str,
    *,
    names: Sequence[str] = FEATURE_NAMES,
    cross: Mapping[str, Cross] = MappingProxyType({}),
) -> Features:
    """The features of an ordered pair on a task.

    Args:
        expert: the model that is good at the task.
        auxiliary: the model it is merged with.
        base: what both were fine-tuned from; features that need it are missing without.
        task: whose sketches are compared; behaviour is missing where a model has none, or where
            two tokenizers read the prompts differently.
        names: which features, in this order: those that a predictor reads, of `KNOWN`.
        cross: by side (`expert`, `auxiliary`), what the mean of both makes of its answers.

    Raises:
        SignatureError: signatures of different settings or probe sets.
    """
    pair = Pair(expert=expert, auxiliary=auxiliary, base=base, task=task, cross=cross)
    asked = [KNOWN[name] for name in names]

    def compute() -> np.ndarray:
        values = [f.compute(pair) if f.needs <= pair.available else np.nan for f in asked]
        return _drop_unusable(np.array(values, np.float64))

    details = [task, *names, *map(_spell, sorted(cross.items()))]
    values = remember("features", (expert, auxiliary, base), details, (len(asked),), compute)
    return Features(names=tuple(names), values=values, schema=FEATURE_SCHEMA)


def _spell(of_side: tuple[str, Cross]) -> str:
    """What the mean of both makes of a side's answers, in a text that no other has."""
    side, seen = of_side
    content = seen.kept.tobytes() + seen.logliks.tobytes()
    return f"{side} {hashlib.sha256(content).hexdigest()}"


def names_of(needs: Sequence[Needs]) -> tuple[str, ...]:
    """What every predictor is given, and the optional features that need nothing but these."""
    return FEATURE_NAMES + tuple(n for n, each in OPTIONAL.items() if each.needs <= set(needs))


def reads(names: Sequence[str], need: Needs) -> bool:
    """Whether one of these features cannot do without it."""
    return any(name in KNOWN and need in KNOWN[name].needs for name in names)


def page() -> str:
    """`docs/reference/features.md`, generated from the registry."""
    lines = [
        "# Features",
        "",
        f"Schema {FEATURE_SCHEMA}, {len(REGISTRY)} features and {len(OPTIONAL)} optional ones. "
        "A *pair* is an expert and an auxiliary;",
        "*missing* means NaN, never a made-up number. `swap` says what a feature becomes when the",
        "two models change places. This page is generated from the registry.",
    ]
    for family, title in FEATURE_FAMILIES.items():
        members = [f for f in KNOWN.values() if f.family == family]
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
    swap = f"`{feature.swap}`" if feature.swap in KNOWN else feature.swap
    return f"| `{feature.name}` | {feature.summary.rstrip('.')} | {needs} | {swap} |"


def _drop_unusable(values: np.ndarray) -> np.ndarray:
    """Missing where a number is none, or too large for the float32 of predictors."""
    return np.where(np.abs(values) <= np.finfo(np.float32).max, values, np.nan)
