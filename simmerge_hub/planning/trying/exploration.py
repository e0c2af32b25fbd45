"""A bandit's say in a plan: the arm it wants to try comes first, with its chance to be the best."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from simmerge_hub.hub.reference import ModelRef
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.operators import Arm
from simmerge_hub.planning.evidence import Evidence
from simmerge_hub.planning.inputs import Inputs
from simmerge_hub.planning.verdict import Verdict
from simmerge_hub.selector.bandit import sharing
from simmerge_hub.signatures.merged.effects import EFFECT_NAMES
from simmerge_hub.signatures.signing.signature import Signature

CHANCES = 3
"""Arms whose chance to be the best is told."""


def add_arms(arms: Sequence[Arm], reference: str) -> tuple[Arm, ...]:
    """The arms, and those that the bandit may suggest besides.

    Raises:
        BanditError: there is no bandit.
        HubError: it cannot be read.
    """
    known = sharing.look(reference)
    labels = {each.label for each in arms}
    return (*arms, *(a for a in known.bandit.all_arms(known.history) if a.label not in labels))


def explore(
    verdict: Verdict,
    reference: str,
    inputs: Inputs,
    evidence: Evidence,
    effects: Mapping[str, Mapping[str, np.ndarray]],
) -> Verdict:
    """The verdict with the arm of a bandit first; what it suggested is noted in its history.

    Args:
        verdict: by prediction.
        reference: of the bandit, a folder or `org/name`.
        inputs: the two models and the tasks; one arm is suggested for the mean over these.
        evidence: the signatures.
        effects: expert -> arm label -> what the arm does to the pair.

    Raises:
        BanditError: it has no arm that these models can be merged with.
        HubError: it cannot be read or written.
    """
    among = {choice.label for choice in verdict.choices}
    asked = _questions(inputs, evidence, effects)
    suggested = sharing.suggest(reference, asked, together=True, among=among)
    arm, chance = suggested[0].arm, suggested[0].chance
    alone = verdict.best.label
    reasons = verdict.because if alone == arm else (f"By prediction alone it would be {alone}",)
    likely = sorted(among & chance.keys(), key=lambda label: (-chance[label], label))[:CHANCES]
    odds = ", ".join(f"{label} {_share(chance[label])}" for label in likely)
    ids = ", ".join(f"{s.id} for {s.task}" for s in suggested)
    return replace(
        verdict,
        choices=tuple(sorted(verdict.choices, key=lambda choice: choice.label != arm)),
        because=(
            f"The bandit {ModelRef.parse(reference).name} tries {arm}: a chance of "
            f"{_share(chance[arm])} to be the best",
            f"Most likely the best: {odds}",
            f"Report what the merge gains as {ids}",
            *reasons,
        ),
        suggested={s.task: s.id for s in suggested},
    )


def _questions(
    inputs: Inputs, evidence: Evidence, effects: Mapping[str, Mapping[str, np.ndarray]]
) -> list[sharing.Asked]:
    """What a bandit is asked: each task with its pair, seen from the expert."""
    known = evidence.signatures
    names = {model.name: _name(model, known[model.name]) for model in inputs.models}
    asked = []
    for task in inputs.tasks:
        auxiliary = inputs.partner(task.expert)
        pair = evidence.compare(task.expert, auxiliary, task.name)
        asked.append(
            sharing.Asked(
                task=task.name,
                expert=names[task.expert],
                auxiliary=names[auxiliary],
                names=pair.names,
                schema=pair.schema,
                values=pair.values,
                effect_names=EFFECT_NAMES,
                effects=effects[task.expert],
            )
        )
    return asked


def _name(model: Checkpoint, signature: Signature) -> str:
    """What a bandit knows a model by: a folder's name may be another model's tomorrow."""
    return model.name if model.commit else f"{model.name}@{signature.digest[:8]}"


def _share(chance: float) -> str:
    return f"{chance:.0%}" if chance >= 0.005 else "less than 1%"
