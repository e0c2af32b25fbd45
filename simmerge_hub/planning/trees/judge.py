"""Three models or more -> which of them to merge, in which order and with which operators."""

from collections.abc import Mapping, Sequence

from simmerge_hub.operators import Arm, find, known_arm
from simmerge_hub.planning.ask.options import Ask
from simmerge_hub.planning.choice import CAUTION, Belief, Choice, Order
from simmerge_hub.planning.evidence import Evidence, why_unfed
from simmerge_hub.planning.inputs import Inputs
from simmerge_hub.planning.tree import Tree, join, leaf, sees_activations
from simmerge_hub.planning.tree import at_once as merge_at_once
from simmerge_hub.planning.trees.forecast import Forecast
from simmerge_hub.planning.trees.search import lean, search
from simmerge_hub.planning.trying.decision import (
    Outcome,
    is_seen,
    say_what_was_kept,
    say_where_it_was_shown,
)
from simmerge_hub.planning.trying.trees import tree_gaps, try_trees
from simmerge_hub.planning.verdict import STATUSES, Standing, Verdict, leave_out, reasons, worst
from simmerge_hub.progress import Note, Say
from simmerge_hub.recipe.why import Status
from simmerge_hub.selector.predictor.measured import at_once
from simmerge_hub.selector.predictor.novelty import Novelty
from simmerge_hub.selector.predictor.predictor import Predictor
from simmerge_hub.selector.predictor.trust import SURER

FIELD = 5
"""Models of a catalogue of which all subsets are searched; of more, all pairs are."""
BEATEN = "merges of two others are predicted to do better than any of two with it"
UNKNOWN = Belief(mean=0.0, variance=1.0)
"""What is expected where nothing is predicted."""


def judge_trees(
    inputs: Inputs,
    evidence: Evidence,
    predictor: Predictor,
    ask: Ask,
    *,
    progress: Say,
    note: Note | None = None,
) -> Verdict:
    """The merges of three signed models or more that are worth a forecast, best first.

    Args:
        inputs: the models, and the tasks.
        evidence: their signatures.
        predictor: of pairs, and of merges of many.
        ask: what trees are judged by (a task whose expert is left out counts too), and how far to
            search.
        progress: told which merge is tried.
        note: told what trying costs before it starts.

    Raises:
        ObjectiveError: no merge keeps what must be kept.
    """
    fed, unfed = _fed(predictor), why_unfed(inputs, evidence)
    forecast = Forecast(
        predictor=predictor,
        base=evidence.base,
        models={name: evidence.signatures[name] for name in inputs.names},
        known=inputs.known,
        fed=() if unfed else fed,
    )
    order = Order(objective=ask.objective, caution=CAUTION)
    novelty = _most_novel(inputs, evidence, predictor)
    far = [each.reason for each in novelty.values() if each.status == "abstained"]
    safe = _safe(forecast, inputs, ask, fed=not unfed)
    beaten = {} if far else _narrow(forecast, ask)
    ranked = _safest(forecast, safe, ask) if far else _rank(forecast, ask)
    outcome = Outcome(choices=tuple(ranked))
    if ask.tries:
        outcome = try_trees(
            forecast, ranked, inputs, evidence, ask, order,
            safe=safe, blind=bool(far), say=progress, note=note,
        )  # fmt: skip
        ranked = list(outcome.choices)
    seen = [choice for choice in ranked if choice.label in outcome.tried]
    because = (
        _why_safe(ranked[0], far[0], predictor)
        if far and not seen
        else (
            *reasons(seen or ranked, order, [forecast.model(name) for name in forecast.models]),
            *_why_fed(ranked[0]),
        )
    )
    best = ranked[0]
    return Verdict(
        choices=tuple(ranked),
        status=_status(best, novelty, predictor, outcome, inputs),
        because=(
            *because,
            *say_what_was_kept(outcome, best),
            *((say_where_it_was_shown(),) if far and seen else ()),
        ),
        objective=ask.objective,
        standings={task: Standing(novelty=each) for task, each in novelty.items()},
        left_out={**leave_out(ranked, order, inputs.names), **beaten}
        | ({arm.label: unfed for arm in fed} if unfed else {}),
        parts={m.label: forecast.latest.get(m.label, best) for m in best.tree.merges}
        | {best.label: best},
        tried=outcome.tried,
        scored=forecast.scored,
    )


def _fed(predictor: Predictor) -> tuple[Arm, ...]:
    """The arms on what the models' layers are fed that were measured on pairs and on more."""
    measured = at_once.read().gains
    return tuple(each for each in predictor.arms if each.label in measured)


def _why_fed(best: Choice) -> tuple[str, ...]:
    """What the expectation of a merge of many that looks at activations rests on."""
    if not sees_activations(best.tree) or len(best.tree.models) == 2:
        return ()
    known = at_once.read()
    return (
        f"What is expected of it, with its interval, is what {known.says(len(best.tree.models))} "
        "reached: the same for any models",
    )


def _most_novel(inputs: Inputs, evidence: Evidence, predictor: Predictor) -> dict[str, Novelty]:
    """Task -> where its expert's most unfamiliar pair stands."""
    novelty = {}
    for task in inputs.tasks:
        others = [name for name in inputs.names if name != task.expert]
        pairs = [evidence.compare(task.expert, other, task.name).values for other in others]
        judged = [predictor.judge(values, inputs.parameters) for values in pairs]
        novelty[task.name] = max(judged, key=lambda n: (STATUSES.index(n.status), n.distance))
    return novelty


def _status(
    best: Choice,
    novelty: Mapping[str, Novelty],
    predictor: Predictor,
    outcome: Outcome,
    inputs: Inputs,
) -> Status:
    """How far to believe the best tree: as far as its most unfamiliar pair, and no further than
    merges of so many models were measured; if it was run on all that matters, `tried`."""
    if is_seen(outcome, best, tree_gaps(best, inputs)):
        return "tried"
    count = len(best.tree.models)
    measured = count == 2 or (predictor.many is not None and count <= predictor.many.models)
    statuses: list[Status] = [each.status for each in novelty.values()]
    return worst(statuses if measured else [*statuses, "extrapolated"])


def _safest(forecast: Forecast, safe: Choice, ask: Ask) -> list[Choice]:
    """The safe merge; where merges are tried, then other arms on the same models in one step, in
    the order of the farthest outcomes there are."""
    if not ask.tries:
        return [safe]
    known = forecast.predictor.beyond.gains
    others = [
        Choice(tree=tree, beliefs=safe.beliefs, label=tree.label)
        for tree in merge_at_once(
            list(safe.tree.models), base=forecast.base is not None, fed=forecast.fed
        )
        if tree.label != safe.label
    ]
    others.sort(key=lambda c: -known.get(c.tree.arm.label if c.tree.arm else "", -1.0))
    return [safe, *others]


def _safe(forecast: Forecast, inputs: Inputs, ask: Ask, *, fed: bool) -> Choice:
    """The experts merged at once with the arm that did best in the farthest outcomes there are.

    Of the arms that can merge so many, those that look at activations only if the models are
    `fed`; equal Linear if none of them was measured.
    """
    experts = dict.fromkeys([*(task.expert for task in inputs.tasks), *inputs.names])
    models = list(experts)[: ask.most]
    usable = {
        a.label: a
        for a in forecast.predictor.arms
        if find(a.operator).models[1] is None and a == a.swapped()
        if forecast.base is not None or not find(a.operator).needs_base
        if fed or not find(a.operator).activations
    }
    label = forecast.predictor.beyond.best(usable)
    safe = usable[label] if label else known_arm("linear")
    tree = join(safe, *(leaf(name) for name in inputs.names if name in models))
    return Choice(tree=tree, beliefs=dict.fromkeys(forecast.known, UNKNOWN), label=tree.label)


def _why_safe(safe: Choice, far: str, predictor: Predictor) -> tuple[str, ...]:
    """Why nothing is predicted, which evidence the safe merge has, and what it lacks."""
    used = safe.tree.arm.label if safe.tree.arm else ""
    known = f"{predictor.beyond.says(used)}; " if used in predictor.beyond.gains else ""
    return (
        f"{safe.label} is the safe choice: too few held-out models were as far from training "
        f"({far}), so no ranking is followed",
        f"Its evidence: {known}{_say_of_many(used, safe.tree)}",
        SURER,
    )


def _say_of_many(label: str, tree: Tree) -> str:
    """What merges of so many models reached far from training."""
    beyond, models = at_once.read("far"), len(tree.models)
    if models < 3 or label not in beyond.gains:
        return "merges of more than two were not compared there"
    closed = beyond.expect(label, models)[0]
    by = " by prompts of each one's task" if sees_activations(tree) else ""
    return f"on {beyond.says(models)}, it closed {closed:.2f} of the gap{by}"


def _narrow(forecast: Forecast, ask: Ask) -> dict[str, str]:
    """Of a larger catalogue, go on with the models of the best pairs; the others, and why."""
    if not ask.catalogue or len(forecast.models) <= FIELD or ask.most == 2:
        return {}
    pairs = search(forecast, ask.objective, most=2, beam=ask.search.beam)
    going = first_models(pairs, max(FIELD, ask.search.least))
    beaten = dict.fromkeys(sorted(forecast.models.keys() - set(going)), BEATEN)
    forecast.models = {name: each for name, each in forecast.models.items() if name in going}
    return beaten


def first_models(ranked: Sequence[Choice], count: int) -> tuple[str, ...]:
    """The models of the best merges: those that come first, until there are so many."""
    names = dict.fromkeys(name for choice in ranked for name in choice.tree.models)
    return tuple(names)[:count]


def _rank(forecast: Forecast, ask: Ask) -> list[Choice]:
    """The trees that a search finds, best first, by all means that are asked for."""
    objective, options = ask.objective, ask.search
    ranked = search(forecast, objective, least=options.least, most=ask.most, beam=options.beam)
    if options.step_weights == "predicted":
        ranked = lean(forecast, ranked, objective)
    return ranked
