"""Models in, a Plan out: what to merge and how, what to expect, and why.

Everything here is prediction: no model is evaluated, and none is merged unless the user lets the
most promising merges be tried on the probes.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from time import perf_counter

from simmerge_hub.errors import NotSigned
from simmerge_hub.planning.ask.objective import MEAN, Objective
from simmerge_hub.planning.ask.options import Ask, Catalogue, Search, Sources, Tasks
from simmerge_hub.planning.evidence import Evidence, prompts_by_model, sign_all
from simmerge_hub.planning.find.few import Survey, find_few
from simmerge_hub.planning.find.inference import infer_experts
from simmerge_hub.planning.inputs import Inputs, pin
from simmerge_hub.planning.pairs import judge_pair
from simmerge_hub.planning.plan.result import Plan
from simmerge_hub.planning.tree import recipe_of
from simmerge_hub.planning.trees.judge import judge_trees
from simmerge_hub.planning.trying.pair import try_pair
from simmerge_hub.planning.verdict import Verdict
from simmerge_hub.progress import Note, Say
from simmerge_hub.selector.bandit import sharing
from simmerge_hub.selector.predictor import origin
from simmerge_hub.selector.predictor.predictor import Predictor
from simmerge_hub.signatures.features.vector import FEATURE_SCHEMA, KNOWN

__all__ = ["Plan", "plan"]

REASONS_RECORDED = 100
"""Candidates of a catalogue whose reasons a plan records."""


def plan(
    *models: str,
    catalogue: Catalogue | None = None,
    base: str | None = None,
    tasks: Tasks = Tasks(),
    objective: Objective = MEAN,
    sources: Sources = Sources(),
    search: Search = Search(),
    tries: int = 0,
    progress: Say | None = None,
    note: Note | None = None,
    pinned: Callable[[Inputs], None] | None = None,
) -> Plan:
    """Predict which of two models or more to merge, in which order and with which operators.

    Args:
        models: references: `org/name[@revision]` or folders; adapters count as models.
        catalogue: instead of models: a collection of the Hub, or an author's fine-tunes of `base`.
        base: the model they were fine-tuned from, if their cards do not say.
        tasks: who is good at what, and the prompts that stand for it, if the cards do not say.
        objective: what merges are judged by; the mean over tasks by default.
        sources: where the evidence comes from: predictor, signals, signatures, bandit.
        search: how far to search among three models or more.
        tries: so many of the most promising merges, and the safe one, are made, one at a time in a
            temporary folder, and run on the probes before one is chosen; no label is needed.
        progress: told what is being done.
        note: told what should be kept: bytes to download, signatures that are not believed.
        pinned: shown the models and their base before anything of them but headers is read.

    Raises:
        RequestError: what is asked cannot be had of so many models.
        SimmergeError: the models cannot be merged, or there is nothing to predict from.
    """
    ask = Ask(
        catalogue=catalogue, tasks=tasks, objective=objective, sources=sources, search=search,
        tries=tries,
    )  # fmt: skip
    ask.check(len(models))
    return _make(models, base, ask, progress or (lambda _: None), note, pinned)


def _make(
    models: Sequence[str],
    base: str | None,
    ask: Ask,
    say: Say,
    note: Note | None,
    pinned: Callable[[Inputs], None] | None,
) -> Plan:
    """References -> inputs -> evidence -> verdict -> plan, each in a room of its own."""
    began = perf_counter()
    trained = origin.find(ask.sources.predictor)
    names = trained.predictor.names
    trained.predictor.check([name for name in names if name in KNOWN], FEATURE_SCHEMA)
    if ask.sources.bandit is not None:
        sharing.look(ask.sources.bandit)  # what cannot be read is told before models are signed
    say("reading headers")
    inputs, survey = _find_inputs(models, base, ask, say)
    if note:
        for sentence in inputs.notes:
            note(sentence)
    if pinned:
        pinned(inputs)
    read = perf_counter()
    wanted = {"names": names, "answers": bool(ask.tries), "progress": say, "note": note}
    try:
        evidence = sign_all(inputs, ask.sources, **wanted)
    except NotSigned as error:
        if note:
            note(f"{error}: weights alone are compared, and intervals are wider")
        ask = replace(ask, sources=replace(ask.sources, signals="structural"))
        evidence = sign_all(inputs, ask.sources, **wanted)
    signed = perf_counter()
    say("predicting")
    inputs = infer_experts(inputs, evidence.signatures)
    verdict = _judge(inputs, evidence, trained.predictor, ask, say, note)
    seconds = {"reading": read - began, "signing": signed - read}
    return Plan(
        recipe=recipe_of(
            verdict.best.tree, inputs.models, inputs.base, prompts_by_model(inputs, evidence)
        ),
        tasks=inputs.tasks,
        probes=evidence.probes,
        verdict=verdict,
        left_out={**inputs.dropped, **verdict.left_out, **_record(survey)},
        predictor=trained.predictor.training,
        predictor_from=trained.origin,
        coverage=1 - trained.predictor.alpha,
        signatures=evidence.origins,
        seconds=seconds | {"predicting": perf_counter() - signed},
        survey=survey,
    )


def _find_inputs(
    models: Sequence[str], base: str | None, ask: Ask, say: Say
) -> tuple[Inputs, Survey | None]:
    """The models that are named, or the best few of a catalogue; with tasks that are aimed at."""
    if ask.catalogue:
        inputs, survey = find_few(ask.catalogue, base, ask, progress=say)
    else:
        probed = ask.sources.signals != "structural"
        inputs, survey = pin(models, base, ask.tasks, probed=probed), None
    ask.objective.check([task.name for task in inputs.tasks])
    ask.check_size(len(inputs.models))
    return inputs, survey


def _judge(
    inputs: Inputs,
    evidence: Evidence,
    predictor: Predictor,
    ask: Ask,
    say: Say,
    note: Note | None,
) -> Verdict:
    if len(inputs.models) != 2:
        return judge_trees(inputs, evidence, predictor, ask, progress=say, note=note)
    verdict = judge_pair(inputs, evidence, predictor, ask)
    if not ask.tries:
        return verdict
    return try_pair(verdict, inputs, evidence, predictor, ask, say=say, note=note)


def _record(survey: Survey | None) -> dict[str, str]:
    """The first of the candidates that are left out; of the rest the number."""
    dropped = dict(survey.dropped) if survey else {}
    more = len(dropped) - REASONS_RECORDED
    if more <= 0:
        return dropped
    first = dict(islice(dropped.items(), REASONS_RECORDED))
    return {**first, f"{more} more candidates": "too many to record"}
