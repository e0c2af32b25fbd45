"""What was predicted of a merge and of others, as a section of its card."""

from collections.abc import Sequence

from simmerge_hub.literal import code, literal
from simmerge_hub.publishing.sections.markdown import table
from simmerge_hub.publishing.trust.naming import explain_status
from simmerge_hub.recipe.why import UNIT, Why, WhyMerge, WhyTask


def show_predictions(why: Why | None) -> str:
    """Every merge that was judged, with what it should keep; or that nothing was predicted."""
    if why is None:
        return (
            "## Predicted utilities\n\nNone: this recipe was written or edited by hand. Nothing "
            "was predicted for it."
        )
    tasks = [task.task for task in why.tasks]
    heading, wanted = why.objective.heading, why.objective.description
    columns = [literal(heading)] if heading not in tasks else []
    rows = [
        [_merge(each, why), *(_interval(each.utility) for _ in columns)]
        + [_interval(each.tasks[task]) for task in tasks]
        for each in why.predictions
    ]
    experts = "; ".join(
        f"{literal(task.task)}: {code(task.expert)}{_inference(task)} "
        f"(probes {literal(task.probes)})"
        for task in why.tasks
    )
    cautious = "A merge counts by one standard deviation below what is shown. " if why.tree else ""
    return "\n\n".join(
        [
            "## Predicted utilities",
            f"Utility is the {UNIT}. Shown with {why.coverage:.0%} intervals per task. These are "
            "predictions, not measurements.",
            *_trials(why, tasks),
            f"Wanted was the merge with {literal(wanted)}. {cautious}Bounds of a value over "
            "several tasks are made of theirs, and are no calibrated interval. ◆: no other is "
            "better on one task and as good on all.",
            table(["merge", *columns, *map(literal, tasks)], rows),
            f"**{why.status.capitalize()}**: {explain_status(why)}. {literal(why.reason)}",
            f"Experts — {experts}. Predictor {code(why.predictor[:12])}, "
            f"from {literal(why.predictor_from)}.",
        ]
    )


def _merge(prediction: WhyMerge, why: Why) -> str:
    """The merge's name: the chosen one bold, those that are on the front marked."""
    label = literal(prediction.merge)
    name = f"**{label}**" if prediction.merge == why.choice else label
    name = f"{name} ◆" if prediction.pareto else name
    return f"{name} (tried)" if prediction.kept else name


def _trials(why: Why, tasks: Sequence[str]) -> list[str]:
    """What was seen of merges that were made and run, beside what was predicted before."""
    seen = [each for each in why.predictions if each.kept]
    if not seen:
        return []
    rows = [[_merge(each, why), *(_trial(each, task) for task in tasks)] for each in seen]
    return [
        "Those marked as tried were made and run on the probes before one was chosen. Without "
        "labels it shows what a merge keeps of each expert's own answers, and no more: share of "
        "answers kept whole, of their tokens, and log-likelihood from base (0) to expert (1); in "
        "brackets the utility that was predicted before.",
        table(["tried", *map(literal, tasks)], rows),
    ]


def _trial(each: WhyMerge, task: str) -> str:
    kept = each.kept.get(task)
    before = f"({each.predicted[task][0]:.2f})" if task in each.predicted else ""
    if kept is None:
        return f"– {before}".strip()
    shares = "{answers:.0%}, {tokens:.0%}, {regained:.2f}".format(**kept)
    return f"{shares} {before}".strip()


def _inference(task: WhyTask) -> str:
    if task.probability is None:
        return ""
    return f", inferred with probability {task.probability:.2f},"


def _interval(values: Sequence[float]) -> str:
    middle, low, high = values
    return f"{middle:.2f} ({low:.2f} – {high:.2f})"
