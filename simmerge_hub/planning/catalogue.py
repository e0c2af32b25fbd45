"""A collection, or an author's fine-tunes of a base, in; a plan of the best few out.

Many are listed and read, few are signed, and the search of subsets is that of `plan_many`. Every
model that is not in the plan is told why.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

from simmerge_hub.errors import AlignmentError, ProbeError, SimmergeError
from simmerge_hub.hub import listing as hub
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.planning import many, plan
from simmerge_hub.planning.evidence import Inputs, Progress, measured
from simmerge_hub.planning.find.candidates import WORKERS, Sifted, sift, spoken, too_few
from simmerge_hub.planning.find.shortlist import Shortlist, shorten
from simmerge_hub.planning.many import ManyPlan
from simmerge_hub.planning.objective import MEAN, Objective
from simmerge_hub.planning.plan import Plan
from simmerge_hub.planning.tasks import Task
from simmerge_hub.planning.trees.search import BEAM, SearchOptions
from simmerge_hub.selector.predictor import origin
from simmerge_hub.signatures.features.vector import NAMES, SCHEMA
from simmerge_hub.signatures.probing.probe import probe_set
from simmerge_hub.weights.alignment.lineage import weight_mismatch

SHORTLIST = 12
"""Models that are signed and searched."""
MOST = 4
"""Models a merge may have: larger ones were not measured."""
FIELD = 5
"""Models of which all subsets are searched; of more, all pairs are."""
RECORDED = 100
"""Candidates that are left out whose reasons a plan records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CataloguePlan:
    """The plan of the best few of a catalogue, and what became of all the others.

    Args:
        place: the catalogue, in words.
        base: what all were made from.
        listed: how many models it lists, the base not counted.
        shortlist: model -> task -> the score its card states, of those that were searched.
        dropped: candidate -> why it was not; the plan's `left_out` holds the first of them too.
        plan: of three models or more, or of two if no more are left.
        seconds: `reading` headers, `signing`, `predicting`.
    """

    place: str
    base: str
    listed: int
    shortlist: Mapping[str, Mapping[str, float]]
    dropped: Mapping[str, str]
    plan: Plan | ManyPlan
    seconds: Mapping[str, float]

    def to_yaml(self) -> str:
        """The plan, as plan.yaml holds it."""
        return self.plan.to_yaml()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for programs: the plan, and under `catalogue` every candidate."""
        found = {
            "place": self.place,
            "base": self.base,
            "listed": self.listed,
            "shortlist": {name: dict(scores) for name, scores in self.shortlist.items()},
            "dropped": dict(self.dropped),
            "seconds": {what: round(each, 3) for what, each in self.seconds.items()},
        }
        return {**self.plan.to_dict(), "catalogue": found}


def plan_catalogue(
    collection: str | None = None,
    *,
    author: str | None = None,
    base: str | None = None,
    shortlist: int = SHORTLIST,
    experts: Mapping[str, str] | None = None,
    probes: Mapping[str, str] | None = None,
    objective: Objective = MEAN,
    least: int = 2,
    most: int | None = MOST,
    beam: int = BEAM,
    step_weights: Literal["even", "predicted"] = "even",
    probe_intermediates: int = 0,
    predictor: str | Path | None = None,
    signals: Literal["full", "structural"] = "full",
    signatures: Sequence[str] = (),
    progress: Progress | None = None,
    note: Progress | None = None,
) -> CataloguePlan:
    """Find models on the Hub that can be merged, and predict which of them to merge and how.

    Args:
        collection: a collection of the Hub, `org/title-0123456789abcdef01234567`.
        author: instead of a collection, whose models are searched for fine-tunes of `base`.
        base: what the models were fine-tuned from; of a collection, what most cards name by
            default.
        shortlist: how many models are searched at most: for every task the best few by the scores
            on their cards.
        experts: task -> which of the models is good at it, if their cards have no scores.
        probes, objective, beam, step_weights, probe_intermediates, predictor, signals, signatures,
            progress, note: as of `plan_many`.
        least, most: how many models the merge may have.

    Raises:
        HubError: there is no such collection, it holds no models, or the Hub is not reached.
        AlignmentError: fewer than two of the models can be merged; the message has every reason.
        SimmergeError: there is nothing to predict from.
    """
    say = progress or (lambda _: None)
    options = SearchOptions(
        least=least,
        most=most,
        beam=beam,
        field=FIELD,
        step_weights=step_weights,
        probe_intermediates=probe_intermediates,
    )
    options.check_trials(signals)
    began = perf_counter()
    trained = origin.find(predictor)
    trained.predictor.check(NAMES, SCHEMA)
    say("asking the Hub")
    listed = _listed(collection, author, base)
    sifted = sift(listed, base, progress=say)
    say("comparing scores")
    short, dropped = _shortened(sifted, shortlist, experts or {}, probes or {})
    if len(short.models) < 2:
        raise too_few(listed.place, short.models, dropped)
    options.check_numbers(len(short.models))
    inputs = _inputs(short, sifted.base, signals, probes or {})
    objective.check([task.name for task in inputs.tasks])
    read = perf_counter()
    evidence = measured(inputs, signals=signals, signatures=signatures, progress=say, note=note)
    signed = perf_counter()
    say("predicting")
    if len(inputs.models) == 2:
        made = plan.predicted(inputs, evidence, trained, objective)
    else:
        made = many.predicted(inputs, evidence, trained, objective, options, progress=say)
    seconds = {
        "reading": read - began,
        "signing": signed - read,
        "predicting": perf_counter() - signed,
    }
    return CataloguePlan(
        place=listed.place,
        base=sifted.base.name,
        listed=len(sifted.kept) + len(sifted.dropped),
        shortlist={name: _scores(name, inputs.tasks) for name in inputs.names},
        dropped=dropped,
        plan=replace(made, left_out={**made.left_out, **_recorded(dropped)}),
        seconds=seconds,
    )


def _listed(collection: str | None, author: str | None, base: str | None) -> hub.Listing:
    if collection is not None and author is None:
        return hub.collection(collection)
    if author is not None and base is not None and collection is None:
        return hub.models_of(author, base)
    raise AlignmentError(
        "a catalogue is a collection, or an author and a base",
        hint='plan_catalogue("org/collection") or plan_catalogue(author="org", base="org/base")',
    )


def _shortened(
    sifted: Sifted, count: int, experts: Mapping[str, str], probes: Mapping[str, str]
) -> tuple[Shortlist, dict[str, str]]:
    """The shortlist, and all that are not on it. Whose weights are no fine-tune's is replaced."""
    left, dropped = list(sifted.kept), dict(sifted.dropped)
    checked: set[str] = set()
    while True:
        _check_experts(experts, left, dropped)
        short = shorten(left, count, experts, probes)
        new = [model for model in short.models if model.name not in checked]
        if not new:
            return short, {**dropped, **short.passed}
        with ThreadPoolExecutor(WORKERS) as pool:
            reasons = list(pool.map(lambda model: _far(model, sifted.base), new))
        checked |= {model.name for model in new}
        dropped |= {m.name: why for m, why in zip(new, reasons, strict=True) if why}
        left = [model for model in left if model.name not in dropped]


def _far(model: Checkpoint, base: Checkpoint) -> str:
    try:
        return spoken(weight_mismatch(model, base), model.name)
    except SimmergeError as error:
        return spoken(error, model.name)
    except Exception as error:  # as in `candidates`: one of them does not end the others
        return f"its weights cannot be read ({type(error).__name__})"


def _check_experts(
    experts: Mapping[str, str], left: Sequence[Checkpoint], dropped: Mapping[str, str]
) -> None:
    """ProbeError if an expert that is named was dropped: the reason is known."""
    there = {text for m in left for text in (m.name, m.name.rpartition("/")[2])}
    for task, expert in experts.items():
        for name, reason in dropped.items():
            if expert in (name, name.rpartition("/")[2]) and expert not in there:
                raise ProbeError(
                    f"the expert for {task}, {name}, cannot be merged: {reason}",
                    hint="name another one",
                )


def _inputs(short: Shortlist, base: Checkpoint, signals: str, asked: Mapping[str, str]) -> Inputs:
    """What is planned: the tasks whose probes can be had, if they are needed."""
    dropped, tasks = dict(short.dropped), []
    for task in short.tasks:
        try:
            if signals == "full":
                probe_set(task.name, task.probes)
            tasks.append(task)
        except SimmergeError as error:
            if task.named or task.name in asked:
                raise
            dropped[task.name] = spoken(error)
    if not tasks:
        seen = "; ".join(f"{task}: {why}" for task, why in dropped.items())
        raise ProbeError(
            f"there is no task to merge these models for ({spoken(seen)})",
            hint="name an expert and probes: --expert TASK=MODEL --probes TASK=org/dataset",
        )
    return Inputs(models=short.models, base=base, tasks=tuple(tasks), dropped=dropped)


def _scores(name: str, tasks: Sequence[Task]) -> dict[str, float]:
    return {task.name: task.scores[name] for task in tasks if name in task.scores}


def _recorded(dropped: Mapping[str, str]) -> dict[str, str]:
    """The first of the candidates that are left out; of the rest the number."""
    found = dict(list(dropped.items())[:RECORDED])
    if len(dropped) > RECORDED:
        found[f"{len(dropped) - RECORDED} more candidates"] = "too many to record"
    return found
