"""Three models or more: the most promising trees are made and run before one is chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from simmerge_hub.planning.ask.options import Ask
from simmerge_hub.planning.choice import Choice, Gap, Order
from simmerge_hub.planning.evidence import Evidence
from simmerge_hub.planning.inputs import Inputs
from simmerge_hub.planning.trees.forecast import Forecast
from simmerge_hub.planning.trying.answers import sort_answers
from simmerge_hub.planning.trying.decision import Outcome, decide, pick, run_all
from simmerge_hub.planning.trying.trial import Workshop
from simmerge_hub.progress import Note, Say


def try_trees(
    forecast: Forecast,
    ranked: Sequence[Choice],
    inputs: Inputs,
    evidence: Evidence,
    ask: Ask,
    order: Order,
    *,
    safe: Choice,
    blind: bool,
    say: Say,
    note: Note | None,
) -> Outcome:
    """The first trees of `ranked`, and the safe one, made and run; they come first.

    What was ranked behind stays behind: a guess is no match for what was seen.

    Args:
        forecast: where `ranked` comes from; what merges did on the probes is remembered there, and
            those of three models and more are forecast again with it.
        ranked: best first.
        inputs, evidence: the models, and their signatures with the experts' answers.
        ask: how many are tried.
        order: what trees are put in order by.
        safe: tried whether or not it is among the first.
        blind: whether forecasts show nothing here.
        say: told which merge is made.
        note: told what it costs before it starts.

    Raises:
        ProbeError: there is no base.
        SimmergeError: a merge cannot be made.
    """
    answers = sort_answers(inputs, evidence)
    if not answers.telling:
        return Outcome(choices=tuple(ranked), silent=answers.silent)
    workshop = Workshop(inputs=inputs, evidence=evidence, answers=answers.telling, sketched=True)
    every = ranked if any(c.label == safe.label for c in ranked) else [*ranked, safe]
    chosen = pick(every, ask.tries, safe.label)
    runs = run_all(workshop, chosen, say, note, asked=ask.tries)
    forecast.runs |= {label: run.sketches for label, run in runs.items() if run.sketches}
    if not blind:
        seen = [c.tree for c in chosen if c.label in forecast.runs]
        again = {c.label: c for c in forecast.trees(seen)}
        every = [again.get(c.label, c) for c in every]
    outcome = decide(
        every, runs, workshop, lambda choice: tree_gaps(choice, inputs), order, blind=blind
    )
    workshop.leave(outcome.choices[0].tree)
    return replace(outcome, silent=answers.silent)


def tree_gaps(choice: Choice, inputs: Inputs) -> Mapping[str, Gap]:
    """Task -> what its expert is ahead of the tree's other models, if it is in the tree."""
    gaps = {}
    for task in inputs.tasks:
        others = [model for model in choice.tree.models if model != task.expert]
        if task.expert in choice.tree.models and others:
            gaps[task.name] = Gap(level=fmean(task.relative.get(m, 0.0) for m in others))
    return gaps
