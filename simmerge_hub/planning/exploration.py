"""A bandit's say in a plan: the arm it wants to try comes first, with its chance to be the best."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from simmerge_hub.hub.reference import ModelRef
from simmerge_hub.operators import Arm
from simmerge_hub.planning.choice import Decision
from simmerge_hub.planning.tasks import Task
from simmerge_hub.selector.bandit import sharing
from simmerge_hub.signatures.features.vector import features
from simmerge_hub.signatures.merged.effects import NAMES
from simmerge_hub.signatures.signing.signature import Signature

if TYPE_CHECKING:
    import numpy as np

    from simmerge_hub.hub.resolve import Checkpoint

NAMED = 3
"""Arms whose chance to be the best is told."""


def with_its_arms(arms: Sequence[Arm], reference: str) -> tuple[Arm, ...]:
    """The arms, and those that the bandit may suggest besides.

    Raises:
        BanditError: there is no bandit.
        HubError: it cannot be read.
    """
    found = sharing.look(reference)
    labels = {each.label for each in arms}
    return (*arms, *(a for a in found.bandit.all_arms(found.history) if a.label not in labels))


def explored(
    decision: Decision,
    reference: str,
    tasks: Sequence[Task],
    models: "Sequence[Checkpoint]",
    base: "Checkpoint | None",
    signatures: Mapping[str, Signature],
    effects: "Mapping[str, Mapping[str, np.ndarray]]",
) -> Decision:
    """The decision with the arm of a bandit first; what it suggested is noted in its history.

    Args:
        decision: by prediction.
        reference: of the bandit, a folder or `org/name`.
        tasks: each has an expert; one arm is suggested for the mean over them.
        models: the two.
        base: theirs.
        signatures: of all of them, by name.
        effects: expert -> arm label -> what the arm does to the pair.

    Raises:
        BanditError: it has no arm that these models can be merged with.
        HubError: it cannot be read or written.
    """
    asked = []
    called = {m.name: _called(m, signatures[m.name]) for m in models}
    for task in tasks:
        (auxiliary,) = [m.name for m in models if m.name != task.expert]
        origin = signatures[base.name] if base else None
        found = features(signatures[task.expert], signatures[auxiliary], origin, task.name)
        asked.append(
            sharing.Asked(
                task=task.name,
                expert=called[task.expert],
                auxiliary=called[auxiliary],
                names=found.names,
                schema=found.schema,
                values=found.values,
                effect_names=NAMES,
                effects=effects[task.expert],
            )
        )
    among = {choice.arm.label for choice in decision.choices}
    suggested = sharing.suggest(reference, asked, together=True, among=among)
    arm, chance = suggested[0].arm, suggested[0].chance
    chosen = [c for c in decision.choices if c.arm.label == arm]
    alone = decision.choices[0].arm.label
    reasons = decision.because if alone == arm else (f"By prediction alone it would be {alone}",)
    likely = sorted(among & chance.keys(), key=lambda label: (-chance[label], label))[:NAMED]
    odds = ", ".join(f"{label} {_share(chance[label])}" for label in likely)
    ids = ", ".join(f"{s.id} for {s.task}" for s in suggested)
    name = ModelRef.parse(reference).name
    return replace(
        decision,
        choices=(*chosen, *(c for c in decision.choices if c.arm.label != arm)),
        because=(
            f"The bandit {name} tries {arm}: a chance of {_share(chance[arm])} to be the best",
            f"Most likely the best: {odds}",
            f"Report what the merge gains as {ids}",
            *reasons,
        ),
        suggested={s.task: s.id for s in suggested},
    )


def _called(model: "Checkpoint", signature: Signature) -> str:
    """What a bandit knows a model by: a folder's name may be another model's tomorrow."""
    return model.name if model.commit else f"{model.name}@{signature.digest[:8]}"


def _share(chance: float) -> str:
    return f"{chance:.0%}" if chance >= 0.005 else "less than 1%"
