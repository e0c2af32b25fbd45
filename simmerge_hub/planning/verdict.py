"""What is said of trees once they are scored: whether to trust any, why the first, why not others.

Knows nothing about the search.
"""

from collections.abc import Mapping, Sequence

from simmerge_hub.errors import ObjectiveError
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.operators import arm, find
from simmerge_hub.planning.forecast import Belief, Candidate, Forecast
from simmerge_hub.planning.objective import Objective
from simmerge_hub.planning.search import CAUTION, IDLE
from simmerge_hub.planning.tasks import Task
from simmerge_hub.planning.trees import joined, leaf
from simmerge_hub.selector.novelty import Novelty
from simmerge_hub.selector.predictor import Predictor
from simmerge_hub.selector.status import RANKS, SURER, Status
from simmerge_hub.signatures.features import features

UNKNOWN = Belief(mean=0.0, variance=1.0)
"""What is expected where nothing is predicted."""
SHAPES = {"one step": "in one step", "chain": "chain", "balanced": "merge of merges"}
"""How the best trees of another shape are spoken of."""
LOST = 0.1
"""Who reaches less of an expert's score keeps next to nothing of it."""


def most_novel(forecast: Forecast, tasks: Sequence[Task], whole: Checkpoint) -> dict[str, Novelty]:
    """Task -> where its expert's most unfamiliar pair stands; `whole` is the base, or a model."""
    known = forecast.predictor
    entries = sum(h.entries for h in whole.tensors.values()) if whole.kind == "full" else None
    found = {}
    for task in tasks:
        mine = forecast.models[task.expert]
        judged = [
            known.judge(features(mine, other, forecast.base, task.name).values, entries)
            for name, other in forecast.models.items()
            if name != task.expert
        ]
        found[task.name] = max(judged, key=lambda n: (RANKS.index(n.status), n.distance))
    return found


def status(best: Candidate, novelty: Mapping[str, Novelty], predictor: Predictor) -> Status:
    """How far to believe the best tree: as far as its most unfamiliar pair, and no further than
    merges of so many models were measured."""
    worst = max((RANKS.index(n.status) for n in novelty.values()), default=0)
    count = len(best.tree.models)
    known = count == 2 or (predictor.many is not None and count <= predictor.many.models)
    return RANKS[max(worst, 0 if known else 1)]


def safe(forecast: Forecast, models: Sequence[str]) -> Candidate:
    """Models at once, with the arm that did best in the farthest outcomes there are.

    Of those that can merge so many; equal Linear if none of them was measured.
    """
    usable = {
        a.label: a
        for a in forecast.predictor.arms
        if find(a.operator).models[1] is None and a == a.swapped()
        if forecast.base is not None or not find(a.operator).needs_base
    }
    label = forecast.predictor.beyond.best(usable)
    taken = usable[label] if label else arm("linear")
    tree = joined(taken, *map(leaf, sorted(models, key=list(forecast.models).index)))
    return Candidate(tree=tree, beliefs=dict.fromkeys(forecast.known, UNKNOWN))


def abstained(
    taken: Candidate, novelty: Mapping[str, Novelty], predictor: Predictor
) -> tuple[str, ...]:
    """Why nothing is predicted, which evidence the safe candidate has, and what it lacks."""
    far = next(n.reason for n in novelty.values() if n.status == "abstained")
    used = taken.tree.arm.label if taken.tree.arm else ""
    known = f"{predictor.beyond.says(used)}; " if used in predictor.beyond.gains else ""
    return (
        f"{taken.tree.label} is the safe choice: too few held-out models were as far from training "
        f"({far}), so no ranking is followed",
        f"Its evidence: {known}merges of more than two were not compared there",
        SURER,
    )


def reasons(
    ranked: Sequence[Candidate], objective: Objective, forecast: Forecast
) -> tuple[str, ...]:
    """Why the first is first, in sentences without their full stops."""
    best = ranked[0]
    spreads = best.spreads(CAUTION)
    if short := objective.missing(spreads):
        wanted = " and ".join(f"{least:g} on {task}" for task, least in objective.keep.items())
        reached = ", ".join(f"{spreads[task][0]:.2f} on {task}" for task in short)
        raise ObjectiveError(
            f"no merge is predicted to keep {wanted}; "
            f"the closest, {best.tree.label}, has {reached}",
            hint="ask for less, or for fewer tasks",
        )
    middle, low, _ = objective.value(spreads)
    first = (
        f"Of {len(ranked)} merges {best.tree.label} is predicted to have "
        f"{objective.describe(best.beliefs)} after one standard deviation is taken off: "
        f"{low:.2f} (without that {middle:.2f})"
    )
    shapes = {each.tree.shape: each for each in reversed(ranked) if each.tree.shape}
    others = [
        f"the best {SHAPES[shape]} {objective.value(each.spreads(CAUTION))[1]:.2f}"
        for shape, each in sorted(shapes.items())
        if shape != best.tree.shape
    ]
    spoken = f"{first}; {', '.join(others)}" if others else first
    said = [spoken]
    if lost := [task for task, belief in best.beliefs.items() if belief.mean < LOST]:
        said.append(f"Next to nothing is expected to be kept of {', '.join(lost)}")
    values = {c.tree.label: objective.value(c.spreads(CAUTION))[1] for c in ranked if c.idle}
    label = max(values, key=lambda label: values[label], default="")
    if label and low < values[label] and not best.idle:
        said.append(
            f"{label} has {values[label]:.2f}, but holds a model that is the best at no task, and "
            f"which must add {IDLE}"
        )
    single, alone = _best_alone(objective, forecast)
    if alone >= low:
        said.append(
            f"{single} alone has {alone:.2f}: no merge is predicted to be better with caution"
        )
    return tuple(said)


def _best_alone(objective: Objective, forecast: Forecast) -> tuple[str, float]:
    """The model that is best without any merge, and its value."""
    values = {m: objective.value(forecast.model(m).spreads())[1] for m in sorted(forecast.models)}
    best = max(values, key=lambda name: values[name])
    return best, values[best]


def narrowed(ranked: Sequence[Candidate], count: int) -> tuple[str, ...]:
    """The models of the best merges: those that come first, until there are so many."""
    names = dict.fromkeys(name for candidate in ranked for name in candidate.tree.models)
    return tuple(names)[:count]


def left_out(
    ranked: Sequence[Candidate], objective: Objective, names: Sequence[str]
) -> dict[str, str]:
    """Models that the best tree does without, with what the best tree with them would reach."""
    best, found = ranked[0], {}
    own = objective.value(best.spreads(CAUTION))[1]
    for name in names:
        if name in best.tree.models:
            continue
        other = next((c for c in ranked if name in c.tree.models), None)
        if len(ranked) == 1:
            found[name] = "nothing is predicted, and the experts of the first tasks are taken"
            continue
        if other is None:
            found[name] = "no merge with it was among the best of its size"
            continue
        value = objective.value(other.spreads(CAUTION))[1]
        reason = (
            f"with caution, the best merge with it is predicted to reach {value:.2f}, "
            f"without {own:.2f}"
        )
        if name in other.idle and own <= value <= own + IDLE * len(other.idle):
            reason += f"; it is the best at no task, and must add {IDLE}"
        found[name] = reason
    return found


def on_the_front(candidate: Candidate, others: Sequence[Candidate]) -> bool:
    """Whether no other tree is at least as good on every task and better on one."""
    own = candidate.beliefs
    for other in others:
        leads = [other.beliefs[task].mean - belief.mean for task, belief in own.items()]
        if min(leads) >= 0 and max(leads) > 0:
            return False
    return True
