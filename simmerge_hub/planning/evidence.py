"""Models -> signatures: from caches, from what is published, else computed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from simmerge_hub.hub.reference import home_path
from simmerge_hub.planning.ask.options import Sources
from simmerge_hub.planning.ask.tasks import Task
from simmerge_hub.planning.inputs import Inputs
from simmerge_hub.progress import Note, Say
from simmerge_hub.recipe.calibration import FILES, Prompts
from simmerge_hub.signatures.features.vector import FEATURE_NAMES, Features, features, reads
from simmerge_hub.signatures.probing.dosing.response import Cross
from simmerge_hub.signatures.probing.probe import ProbeSet, probe_set
from simmerge_hub.signatures.published.shared import find_or_sign
from simmerge_hub.signatures.signing import responses
from simmerge_hub.signatures.signing.artifact import drop_tensors
from simmerge_hub.signatures.signing.signature import Request, Signature, Signed

WITHOUT_PROMPTS = "runs the models on prompts, which --signals structural leaves out"
SAME_PROMPTS = (
    "all models would be fed the same prompts, by which no sure gain over linear was measured: say "
    "what each is good at (--expert), with prompts of each (--probes)"
)
SignAll = Callable[[Callable[[Request], Signed], list[Request]], list[Signed]]
"""Signs all, in the order of the requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was measured: the probes by task, and by name every model's signature and the base's.

    `base` is the base's own, if there is a base; `origins` says by name where the parts of each
    signature came from; `names` are the features that the predictor reads; `cross` has by task
    what the mean of two models makes of its expert's answers, where the predictor reads that.
    """

    probes: Mapping[str, ProbeSet]
    signatures: Mapping[str, Signature]
    base: Signature | None
    origins: Mapping[str, Mapping[str, str]]
    names: tuple[str, ...] = FEATURE_NAMES
    cross: Mapping[str, Cross] = field(default_factory=dict)

    def compare(self, expert: str, auxiliary: str, task: str) -> Features:
        """The features of two models on a task."""
        known = self.signatures
        cross = {"expert": self.cross[task]} if task in self.cross else {}
        return features(
            known[expert], known[auxiliary], self.base, task, names=self.names, cross=cross
        )


def prompts_by_model(inputs: Inputs, evidence: Evidence) -> dict[str, tuple[Prompts, ...]]:
    """What each model is fed where its activations count: the prompts of the tasks it is the expert
    for, or of all tasks if it is the expert for none."""
    prompts = {task.name: _prompts(task, evidence) for task in inputs.tasks if evidence.probes}
    return {
        name: tuple(prompts[t.name] for t in inputs.tasks if t.expert == name)
        or tuple(prompts.values())
        for name in (inputs.names if prompts else ())
    }


def why_unfed(inputs: Inputs, evidence: Evidence) -> str:
    """Why no merge of the models may look at activations; "" if one may.

    What the models are fed has to tell them apart: where all were fed the same, no gain over equal
    Linear was sure (`same` in benchmarks/other_prompts.json).
    """
    prompts = prompts_by_model(inputs, evidence).values()
    fed = {frozenset(each.digest for each in own) for own in prompts}
    if not fed:
        return WITHOUT_PROMPTS
    return SAME_PROMPTS if len(fed) == 1 else ""


def _prompts(task: Task, evidence: Evidence) -> Prompts:
    """Where a task's prompts are; a file of this machine by its whole path."""
    known = evidence.probes[task.name]
    stated = task.probes or ""
    where = str(home_path(stated).resolve()) if stated.endswith(FILES) else known.source
    return Prompts(source=where, digest=known.digest)


def sign_all(
    inputs: Inputs,
    sources: Sources,
    *,
    names: Sequence[str] = FEATURE_NAMES,
    answers: bool = False,
    progress: Say,
    note: Note | None,
    spread: SignAll | None = None,
) -> Evidence:
    """Sign the models and the base, and run the probes of the tasks if they are wanted.

    Experts answer the probes of their tasks if one of the features `names` needs it, or `answers`
    are asked for. `spread` signs all models at once, in other processes.

    Raises:
        NotSigned: what is published is wanted, and a model is not signed on all tasks.
    """
    probed = inputs.tasks if sources.signals != "structural" else ()
    probes = {task.name: probe_set(task.name, task.probes) for task in probed}
    dosed = probed if answers or reads(names, "dose") or reads(names, "cross") else ()
    requests = {
        each.name: Request(
            checkpoint=each,
            base=inputs.base,
            probe_sets=tuple(probes.values()),
            dosed=frozenset(t.name for t in dosed if t.expert == each.name or t.probability),
            run=sources.signals == "full",
        )
        for each in [*inputs.models, *([inputs.base] if inputs.base else [])]
    }
    signed: dict[str, Signed] = {}
    if spread is not None:
        work = partial(find_or_sign, third_parties=sources.signatures)
        signed = dict(zip(requests, spread(work, list(requests.values())), strict=True))
    for name, request in requests.items():
        if name in signed:
            continue
        progress(f"signing {name}")
        signed[name] = find_or_sign(
            request,
            third_parties=sources.signatures,
            progress=lambda what, done, total: progress(f"{what} ({done}/{total})"),
            note=note,
        )
    compared = {n: drop_tensors(each.signature, inputs.uncompared) for n, each in signed.items()}
    pair = len(inputs.models) == 2 and reads(names, "cross")
    return Evidence(
        names=tuple(names),
        cross=_cross(inputs, requests, signed, note) if pair else {},
        probes=probes,
        signatures=compared,
        base=compared[inputs.base.name] if inputs.base else None,
        origins={name: each.origins for name, each in signed.items()},
    )


def _cross(
    inputs: Inputs, requests: Mapping[str, Request], signed: Mapping[str, Signed], note: Note | None
) -> dict[str, Cross]:
    """Task -> what the mean of the two models makes of its expert's answers, if it is known."""
    answered = {}
    for task in (t for t in inputs.tasks if t.probability is None):
        response = signed[task.expert].signature.responses.get(task.name)
        partner = requests[inputs.partner(task.expert)]
        if response is not None:
            answered[task.name] = responses.cross(
                requests[task.expert], partner, task.name, response, note=note
            )
    return {task: cross for task, cross in answered.items() if cross is not None}
