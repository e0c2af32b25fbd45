"""Who is the expert for a task, guessed from its probes. Optional: names and scores are better.

A model that was trained to answer a kind of prompt is more certain of how the answer begins, even
on prompts without answers; it need not have the lower loss on the prompts themselves. On the zoo
(1,607 pairs of which one model is the expert) the surer of the two is the expert in 95 % of pairs,
the one with the lower loss in 53 %, the one whose predictions moved farther from the base in 74 %.
All of these models are small, and the probes are of the kind the expert was trained on: on others
the rule is worth nothing, and whether it holds at billions of parameters is not known.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

from simmerge_hub.errors import ProbeError
from simmerge_hub.planning.ask.tasks import Task
from simmerge_hub.planning.inputs import Inputs
from simmerge_hub.signatures.features.vector import Features, features
from simmerge_hub.signatures.signing.signature import Signature

DOUBT = "entropy_difference"
"""Entropy of the first model where answers begin minus the second's, in nats."""
STEEPNESS = 4.0
"""What a nat of less doubt adds to the log of the odds; the zoo's own optimum is 7.8, so a guess is
rather too modest."""
SUREST = 0.99
"""No guess is surer, though on the zoo none of 776 such guesses was wrong."""
UNSURE = 0.6
"""Less probable experts are none."""


def probability(pair: Features) -> float:
    """How probable it is that the first model of a pair is the expert, given that one of them is.

    Args:
        pair: features of the pair (first, second) on the task. The answer for (second, first) is
            one minus this.

    Returns:
        In [0.01, 0.99], or NaN if the models' behaviour on the probes could not be compared.
    """
    share = 1 / (1 + math.exp(STEEPNESS * pair[DOUBT]))
    return share if math.isnan(share) else min(SUREST, max(1 - SUREST, share))


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
