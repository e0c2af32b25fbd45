"""Three models or more -> which of them to merge, in which order and with which operators.

Everything here is prediction: nothing is evaluated, and nothing is merged unless the user lets the
most promising merges be tried on the probes.
"""

from collections.abc import Mapping, Sequence

from simmerge_hub.operators import arm, find
from simmerge_hub.planning.ask.objective import Objective
from simmerge_hub.planning.ask.options import Progress, Search
from simmerge_hub.planning.choice import CAUTION, Belief, Choice, Order
from simmerge_hub.planning.evidence import Evidence
from simmerge_hub.planning.inputs import Inputs
from simmerge_hub.planning.tree import Tree, join, leaf, recipe_of
from simmerge_hub.planning.trees.forecast import Forecast
from simmerge_hub.planning.trees.search import lean, search
from simmerge_hub.planning.trees.trial import Run, run_merge, try_first
from simmerge_hub.planning.verdict import STATUSES, Standing, Verdict, leave_out, reasons, worst
from simmerge_hub.recipe.why import Status
from simmerge_hub.selector.predictor.novelty import Novelty
from simmerge_hub.selector.predictor.predictor import Predictor
from simmerge_hub.selector.predictor.trust import SURER
from simmerge_hub.signatures.features.vector import features
from simmerge_hub.signatures.probing.sketch import Sketch

BEATEN = "merges of two others are predicted to do better than any of two with it"
UNKNOWN = Belief(mean=0.0, variance=1.0)
"""What is expected where nothing is predicted."""


def judge_trees(
    inputs: Inputs,
    evidence: Evidence,
    predictor: Predictor,
    objective: Objective,
    options: Search,
    *,
    field: int | None = None,
    progress: Progress,
) -> Verdict:
    """The merges of three signed models or more that are worth a forecast, best first.

    Args:
        inputs: the models, and the tasks.
        evidence: their signatures.
        predictor: of pairs, and of merges of many.
        objective: what trees are judged by; a task whose expert is left out counts too.
        options: how far to search.
        field: of more models than this, all pairs are tried first, and only the models of the best
            pairs go on.
        progress: told which merge is tried.

    Raises:
        ObjectiveError: no merge keeps what must be kept.
    """
    forecast = Forecast(
        predictor=predictor,
        base=evidence.base,
        models={name: evidence.signatures[name] for name in inputs.names},
        known=inputs.known,
    )
    novelty = _most_novel(forecast, inputs)
    standings = {task: Standing(novelty=each) for task, each in novelty.items()}
    if any(each.status == "abstained" for each in novelty.values()):
        return _abstain(forecast, inputs, objective, options, standings)
    beaten = _narrow(forecast, objective, options, field)
    ranked = search(forecast, objective, least=options.least, most=options.most, beam=options.beam)
    if options.step_weights == "predicted":
        ranked = lean(forecast, ranked, objective)
    if options.probe_intermediates:
        run = _runner(inputs, evidence, progress)
        ranked = try_first(forecast, ranked, objective, options.probe_intermediates, run)
    best, order = ranked[0], Order(objective=objective, caution=CAUTION)
    return Verdict(
        choices=tuple(ranked),
        status=_status(best, novelty, predictor),
        because=reasons(ranked, order, [forecast.model(m) for m in forecast.models]),
        objective=objective,
        standings=standings,
        left_out={**leave_out(ranked, order, inputs.names), **beaten},
        parts={merge.label: forecast.seen.get(merge.label, best) for merge in best.tree.merges},
        tried=tuple(forecast.ran),
        scored=forecast.scored,
    )


def _abstain(
    forecast: Forecast,
    inputs: Inputs,
    objective: Objective,
    options: Search,
    standings: Mapping[str, Standing],
) -> Verdict:
    """The experts merged at once with the safe arm; nothing is predicted."""
    experts = dict.fromkeys([*(task.expert for task in inputs.tasks), *inputs.names])
    safe = _safe(forecast, list(experts)[: options.most])
    far = next(s.novelty.reason for s in standings.values() if s.novelty.status == "abstained")
    return Verdict(
        choices=(safe,),
        status="abstained",
        because=_why_safe(safe, far, forecast.predictor),
        objective=objective,
        standings=standings,
        left_out=leave_out([safe], Order(objective=objective, caution=CAUTION), inputs.names),
        parts={safe.label: safe},
    )


def _most_novel(forecast: Forecast, inputs: Inputs) -> dict[str, Novelty]:
    """Task -> where its expert's most unfamiliar pair stands."""
    predictor = forecast.predictor
    novelty = {}
    for task in inputs.tasks:
        expert = forecast.models[task.expert]
        judged = [
            predictor.judge(
                features(expert, other, forecast.base, task.name).values, inputs.parameters
            )
            for name, other in forecast.models.items()
            if name != task.expert
        ]
        novelty[task.name] = max(judged, key=lambda n: (STATUSES.index(n.status), n.distance))
    return novelty


def _status(best: Choice, novelty: Mapping[str, Novelty], predictor: Predictor) -> Status:
    """How far to believe the best tree: as far as its most unfamiliar pair, and no further than
    merges of so many models were measured."""
    count = len(best.tree.models)
    measured = count == 2 or (predictor.many is not None and count <= predictor.many.models)
    statuses: list[Status] = [each.status for each in novelty.values()]
    return worst(statuses if measured else [*statuses, "extrapolated"])


def _safe(forecast: Forecast, models: Sequence[str]) -> Choice:
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
    safe = usable[label] if label else arm("linear")
    tree = join(safe, *map(leaf, sorted(models, key=list(forecast.models).index)))
    return Choice(tree=tree, beliefs=dict.fromkeys(forecast.known, UNKNOWN), label=tree.label)


def _why_safe(safe: Choice, far: str, predictor: Predictor) -> tuple[str, ...]:
    """Why nothing is predicted, which evidence the safe merge has, and what it lacks."""
    used = safe.tree.arm.label if safe.tree.arm else ""
    known = f"{predictor.beyond.says(used)}; " if used in predictor.beyond.gains else ""
    return (
        f"{safe.label} is the safe choice: too few held-out models were as far from training "
        f"({far}), so no ranking is followed",
        f"Its evidence: {known}merges of more than two were not compared there",
        SURER,
    )


def _narrow(
    forecast: Forecast, objective: Objective, options: Search, field: int | None
) -> dict[str, str]:
    """Of more models than the field, go on with those of the best pairs; the others, and why."""
    if not field or len(forecast.models) <= field or (options.most or field) <= 2:
        return {}
    pairs = search(forecast, objective, most=2, beam=options.beam)
    going = set(first_models(pairs, max(field, options.least)))
    beaten = dict.fromkeys(forecast.models.keys() - going, BEATEN)
    forecast.models = {name: each for name, each in forecast.models.items() if name in going}
    return dict(sorted(beaten.items()))


def first_models(ranked: Sequence[Choice], count: int) -> tuple[str, ...]:
    """The models of the best merges: those that come first, until there are so many."""
    names = dict.fromkeys(name for choice in ranked for name in choice.tree.models)
    return tuple(names)[:count]


def _runner(inputs: Inputs, evidence: Evidence, say: Progress) -> Run:
    probes = tuple(evidence.probes.values())
    dtype = evidence.signatures[inputs.names[0]].settings.dtype

    def run(tree: Tree) -> Mapping[str, Sketch]:
        say(f"trying {tree.label}")
        return run_merge(recipe_of(tree, inputs.models, inputs.base), probes, dtype=dtype)

    return run
