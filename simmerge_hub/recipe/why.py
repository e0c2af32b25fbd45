"""The `why:` of a plan: what was predicted for its recipe, and from what; sealed against edits.

Whoever shows a plan (card, tree picture, command line) reads it by field.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, Literal, get_args

from simmerge_hub.units import Spread

Status = Literal["tried", "calibrated", "extrapolated", "abstained"]
"""How far a plan is to be believed, from the best to the worst."""

UNIT = "share of the task expert's score that the merge keeps; 1 = as good as the expert"
"""What every utility is, wherever one is shown."""
MEANINGS: Mapping[Status, str] = {
    "tried": (
        "made and run on the probes, without labels: what is expected follows from what it keeps "
        "of the experts' own answers"
    ),
    "calibrated": "like the pairs the predictor was calibrated on; the intervals hold",
    "extrapolated": (
        "farther from training than is usual, or more models than were measured; the intervals "
        "do not hold"
    ),
    "abstained": (
        "no held-out pair was this far from training; the ranking is not followed, and the safe "
        "operator is taken"
    ),
}
"""What a status says."""
KEPT = ("answers", "tokens", "regained")
"""What is recorded of a merge that was tried, see `WhyMerge`."""
MOST_VALUES = 100_000
"""A `why` has some hundred values; YAML aliases make a few lines unfold into gigabytes."""
WHY_DIGITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What the choice was to make as large as it can be: in a word or two, and in plain words.

    `weights` and `keep` by task, `worst`: as of `planning.ask.objective.Objective`.
    """

    heading: str
    description: str
    worst: bool = False
    weights: Mapping[str, float] = field(default_factory=dict)
    keep: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyTask:
    """A task, its expert, and what is known of both.

    Args:
        task, expert: their names.
        probes: where the prompts come from, or `none`.
        digest: of the prompts; empty if none were run.
        probability: how sure the expert is, where it was inferred.
        scores: model -> its own score, 0–1, where a card states it.
        novelty: how far the models are from the training data, and what is usual there.
    """

    task: str
    expert: str
    probes: str = "none"
    digest: str = ""
    probability: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    novelty: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyMerge:
    """A merge that was judged, and its utilities: what the aim makes of them, and by task.

    `pareto`: no other is at least as good on every task and better on one. `missing`: task -> how
    much it falls short of what was to be kept. Of a merge that was tried `kept` has by task the
    shares of the expert's own answers (`answers`) and of their tokens (`tokens`) that it keeps, and
    their log-likelihood from base (0) to expert (1) (`regained`); `predicted` what was expected
    before.
    """

    merge: str
    utility: Spread
    tasks: Mapping[str, Spread]
    pareto: bool
    missing: Mapping[str, float] = field(default_factory=dict)
    kept: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    predicted: Mapping[str, Spread] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyStep:
    """A step of the recipe (the last has no name), and its merge's utility on its own tasks."""

    step: str
    tasks: Mapping[str, Spread]


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """What a plan's recipe was chosen by.

    Args:
        recipe: the recipe's fingerprint.
        choice: the merge that was chosen, as it is named in `predictions`.
        status: how far to believe it.
        objective: what was wanted.
        reason: why this one, in sentences.
        coverage: the share of outcomes that intervals hold where they are calibrated.
        predictor: digest of the predictor's training data; `predictor_from`: where it was read.
        tasks: what the models are merged for.
        predictions: the merges that were judged, best first, with their utilities.
        left_out: tasks, arms and models that were dropped -> the reason.
        tree: the merge tree as lines of text, of three models or more; else empty.
        steps: what each merge inside the tree is expected to reach.
        tried: merges that were really made and run on the probes.
        chosen_by: "bandit" where one chose, and not the predictions; else "".
    """

    recipe: str
    choice: str
    status: Status
    objective: Aim
    reason: str
    coverage: float
    predictor: str
    predictor_from: str
    tasks: tuple[WhyTask, ...]
    predictions: tuple[WhyMerge, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    tree: tuple[str, ...] = ()
    steps: tuple[WhyStep, ...] = ()
    tried: tuple[str, ...] = ()
    chosen_by: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data as plan.yaml holds it, with its unit and its seal; what is empty is left out.

        Numbers are rounded to four digits.
        """
        return seal(_plain({"unit": UNIT, **asdict(self)}))


def read_why(data: Any, fingerprint: str) -> Why | None:
    """The `why` in data that may come from a stranger; None if it is not to be believed.

    It is believed if it is of the recipe with this fingerprint, unedited, complete, and in this
    unit.
    """
    if not isinstance(data, dict):
        return None
    try:
        parts = json.JSONEncoder().iterencode(data)
        small = sum(1 for _ in islice(parts, MOST_VALUES)) < MOST_VALUES
        if small and data.get("seal") == seal(data)["seal"] and data.get("recipe") == fingerprint:
            return _why(data)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        pass  # dates, cycles, keys of several kinds; values of another kind than they should be
    return None


def seal(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data with a `seal`: sha256 of the rest as canonical JSON, so that edits show.

    It guards against accidents and careless hands, not against someone who computes it anew.
    """
    rest = {key: value for key, value in data.items() if key != "seal"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return rest | {"seal": hashlib.sha256(text.encode()).hexdigest()}


def _plain(value: Any) -> Any:
    """Lists, dicts and rounded numbers; entries of a dict that are empty or None are left out."""
    if isinstance(value, float):
        return round(value, WHY_DIGITS)
    if isinstance(value, Mapping):
        plain = {key: _plain(each) for key, each in value.items()}
        return {key: each for key, each in plain.items() if each not in (None, "", [], {})}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _why(data: Mapping[str, Any]) -> Why:
    status = data["status"]
    if status not in get_args(Status) or data["unit"] != UNIT:
        raise ValueError("a status or a unit of another program")
    tasks = _each(data["tasks"], _task)
    predictions = _each(data["predictions"], _merge)
    if any(task.task not in merge.tasks for merge in predictions for task in tasks):
        raise ValueError("a merge without a prediction for every task")
    return Why(
        **{key: _text(data[key]) for key in ("recipe", "choice", "predictor", "predictor_from")},
        status=status,
        reason=_text(data["reason"]),
        objective=_aim(data["objective"]),
        coverage=_number(data["coverage"]),
        tasks=tasks,
        predictions=predictions,
        left_out=_table(data.get("left_out"), _text),
        tree=_each(data.get("tree", []), _text),
        steps=_each(data.get("steps", []), _step),
        tried=_each(data.get("tried", []), _text),
        chosen_by=_text(data.get("chosen_by", "")),
    )


def _aim(data: Mapping[str, Any]) -> Aim:
    return Aim(
        heading=_text(data["heading"]),
        description=_text(data["description"]),
        worst=data.get("worst") is True,
        weights=_table(data.get("weights"), _number),
        keep=_table(data.get("keep"), _number),
    )


def _task(data: Any) -> WhyTask:
    probability = _fields(data).get("probability")
    return WhyTask(
        task=_text(data["task"]),
        expert=_text(data["expert"]),
        probes=_text(data["probes"]),
        digest=_text(data.get("digest", "")),
        probability=None if probability is None else _number(probability),
        scores=_table(data.get("scores"), _number),
        novelty=_table(data.get("novelty"), lambda v: v if isinstance(v, str) else _number(v)),
    )


def _merge(data: Mapping[str, Any]) -> WhyMerge:
    if not isinstance(data["pareto"], bool):
        raise TypeError(data["pareto"])
    return WhyMerge(
        merge=_text(data["merge"]),
        utility=_spread(data["utility"]),
        tasks=_table(data["tasks"], _spread),
        pareto=data["pareto"],
        missing=_table(data.get("missing"), _number),
        kept=_table(data.get("kept"), _kept),
        predicted=_table(data.get("predicted"), _spread),
    )


def _kept(values: Any) -> dict[str, float]:
    return {name: _number(_fields(values)[name]) for name in KEPT}


def _step(data: Any) -> WhyStep:
    step = _fields(data).get("step", "")
    return WhyStep(step=_text(step), tasks=_table(data.get("tasks"), _spread))


def _each(values: Any, read: Callable[[Any], Any]) -> tuple[Any, ...]:
    if not isinstance(values, list):
        raise TypeError(values)
    return tuple(read(value) for value in values)


def _table(values: Any, read: Callable[[Any], Any]) -> dict[str, Any]:
    if values is None:
        return {}
    return {_text(key): read(value) for key, value in _fields(values).items()}


def _fields(values: Any) -> dict[Any, Any]:
    if not isinstance(values, dict):
        raise TypeError(values)
    return values


def _spread(values: Any) -> Spread:
    middle, low, high = _each(values, _number)
    return middle, low, high


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _number(value: Any) -> float:
    """A finite float, or a whole number that becomes one without overflow."""
    if type(value) in (int, float) and math.isfinite(value):
        return float(value)
    raise TypeError(value)
