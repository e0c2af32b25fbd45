"""Who is the expert for a task, guessed from its probes."""

import math
from collections.abc import Mapping
from dataclasses import replace

from simmerge_hub.errors import ProbeError
from simmerge_hub.planning.ask.tasks import Task
from simmerge_hub.planning.inputs import Inputs
from simmerge_hub.selector.predictor.expert import probability
from simmerge_hub.signatures.features.vector import features
from simmerge_hub.signatures.signing.signature import Signature

UNSURE = 0.6
"""Less probable experts are none."""


def infer_experts(inputs: Inputs, signatures: Mapping[str, Signature]) -> Inputs:
    """The inputs with their guesses made; tasks where no model stands out are dropped.

    Args:
        inputs: tasks with a probability are guesses between the two models; others stay as they
            are.
        signatures: by model, with sketches of the tasks' probes.

    Raises:
        ProbeError: no task is left.
    """
    kept: list[Task] = []
    dropped: dict[str, str] = {}
    for task in inputs.tasks:
        if task.probability is None:
            kept.append(task)
            continue
        first, second = inputs.names
        share = probability(features(signatures[first], signatures[second], None, task.name))
        likely = max(share, 1 - share)
        if likely >= UNSURE:
            expert = first if share > 0.5 else second
            kept.append(replace(task, expert=expert, probability=likely))
        else:
            dropped[task.name] = _unclear(likely)
    if not kept:
        task, why = next(iter(dropped.items()))
        raise ProbeError(
            f"no expert can be inferred for {task}: {why}",
            hint=f"name it: --expert {task}={inputs.names[0]}",
        )
    return replace(inputs, tasks=tuple(kept), dropped={**inputs.dropped, **dropped})


def _unclear(likely: float) -> str:
    if math.isnan(likely):
        return "the models' behaviour on its probes cannot be compared"
    return f"neither model stands out on its probes (probability {likely:.2f})"
