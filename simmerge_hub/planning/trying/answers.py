"""Whose own answers a merge is held against, and where nothing can be learned from them."""

from collections.abc import Mapping
from dataclasses import dataclass

from simmerge_hub.errors import ProbeError
from simmerge_hub.planning.evidence import Evidence
from simmerge_hub.planning.inputs import Inputs
from simmerge_hub.signatures.merged.kept import why_worthless
from simmerge_hub.signatures.probing.dosing.trial import OwnAnswers

NO_ANSWERS = "no part of its delta can be run, so its answers have no scale"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The experts' answers by task, and the tasks where the probes say nothing, with the reason."""

    telling: Mapping[str, OwnAnswers]
    silent: Mapping[str, str]


def sort_answers(inputs: Inputs, evidence: Evidence) -> Answers:
    """The answers that tell merges apart; of the other tasks, why theirs do not.

    Raises:
        ProbeError: there is no base to measure from.
    """
    if inputs.base is None:
        raise ProbeError(
            "what a tried merge keeps is measured between base and expert, and no base is known",
            hint="name it with --base, or leave out --try",
        )
    models = {model.name: model for model in inputs.models}
    telling, silent = {}, {}
    for task in inputs.tasks:
        response = evidence.signatures[task.expert].responses.get(task.name)
        why = NO_ANSWERS if response is None else why_worthless(response)
        if why or response is None:
            silent[task.name] = f"{task.expert}: {why}"
            continue
        expert = models[task.expert]
        telling[task.name] = OwnAnswers(
            expert=(expert, inputs.base if expert.kind == "adapter" else None),
            probes=evidence.probes[task.name],
            response=response,
        )
    return Answers(telling=telling, silent=silent)
