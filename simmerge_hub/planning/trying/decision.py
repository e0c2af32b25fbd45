"""Predicted merges -> the most promising are made and run -> what is expected of them then.

What was seen joins what was predicted in a small model that learned on merges whose truth is known
(`selector.predictor.measured.tried`). A merge that was not tried stays behind those that were.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from simmerge_hub.planning.choice import Choice, Gap, Order
from simmerge_hub.planning.trying.cost import Clock, state_cost
from simmerge_hub.planning.trying.trial import Run, Workshop
from simmerge_hub.planning.verdict import Tried
from simmerge_hub.planning.words.names import name_tree, shorten
from simmerge_hub.progress import Note, Say
from simmerge_hub.selector.predictor.measured import tried
from simmerge_hub.signatures.merged.kept import Kept, summarise
from simmerge_hub.units import Spread
from simmerge_hub.weights.writing import spare

Gaps = Callable[[Choice], Mapping[str, Gap]]
"""A merge -> task -> what there is to lose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What trying came to.

    Args:
        choices: those that were tried first, each part best first.
        tried: label -> what was seen.
        silent: task -> why its probes say nothing.
    """

    choices: tuple[Choice, ...]
    tried: Mapping[str, Tried] = field(default_factory=dict)
    silent: Mapping[str, str] = field(default_factory=dict)


def pick(choices: Sequence[Choice], count: int, safe: str) -> list[Choice]:
    """The first `count`, and the safe one wherever it stands."""
    first = list(choices[:count])
    return first + [c for c in choices[count:] if c.label == safe]


def is_seen(outcome: Outcome, best: Choice, gaps: Mapping[str, Gap]) -> bool:
    """Whether the best was run on every task on which there is something to lose.

    Args:
        outcome: what was tried.
        best: a choice.
        gaps: task -> what there is to lose; where there is nothing at all, nothing could be seen.
    """
    matter = {task for task, gap in gaps.items() if gap.size}
    known = outcome.tried.get(best.label)
    return bool(matter) and known is not None and matter <= known.kept.keys()


def run_all(
    workshop: Workshop, choices: Iterable[Choice], say: Say, note: Note | None, *, asked: int
) -> dict[str, Run]:
    """Make and run the merges that were not tried before, one at a time: label -> its run.

    The most promising one comes last: it stays until all are judged.

    Args:
        workshop: where they are made.
        choices: which.
        say: told which is made now.
        note: told what it costs before it starts.
        asked: how many were asked for; one more is the safe one.

    Raises:
        OutputError: there is no room for a merge.
        SimmergeError: as `merge`.
    """
    chosen = list(choices)
    known = {choice.label: workshop.find(choice.tree) for choice in chosen}
    runs = {label: run for label, run in known.items() if run is not None}
    missing = [choice for choice in chosen if choice.label not in runs]
    if missing:
        spare.drop()
        workshop.check_disk()
        clock = Clock(workshop.size, len(missing), say)
        short = shorten(workshop.inputs.names)
        if note:
            note(state_cost(workshop, clock, len(chosen), asked))
        for choice in reversed(missing):
            clock.begin(name_tree(choice.tree, short))
            runs[choice.label] = workshop.make(choice.tree, keep=choice is missing[0])
            clock.end()
    return runs


def decide(
    choices: Sequence[Choice],
    runs: Mapping[str, Run],
    workshop: Workshop,
    gaps: Gaps,
    order: Order,
    *,
    blind: bool,
) -> Outcome:
    """The choices with what was seen of those that were run, these first.

    Args:
        choices: as they were predicted.
        runs: label -> what its merge did.
        workshop: where they were run.
        gaps: what there is to lose.
        order: what merges are put in order by.
        blind: whether predictions show nothing here, so that what was seen stands alone.
    """
    seen: dict[str, Tried] = {}
    again: list[Choice] = []
    for choice in choices:
        if choice.label not in runs:
            continue
        kept = _kept(runs[choice.label], workshop)
        seen[choice.label] = Tried(kept=kept, predicted=choice.spreads())
        again.append(_expect(choice, kept, gaps(choice), blind))
    rest = [choice for choice in choices if choice.label not in runs]
    return Outcome(choices=(*order.sort(again), *rest), tried=seen)


def _kept(run: Run, workshop: Workshop) -> dict[str, Kept]:
    return {
        task: summarise(workshop.answers[task].response, reading)
        for task, reading in run.readings.items()
        if reading.kept.size
    }


def _expect(
    choice: Choice, kept: Mapping[str, Kept], gaps: Mapping[str, Gap], blind: bool
) -> Choice:
    """The choice with a new belief on every task that was seen; where predictions show nothing,
    none of a task that was not seen decides."""
    model = tried.read()
    beliefs = dict(choice.beliefs)
    for task, gap in gaps.items():
        each = kept.get(task)
        if blind and each is None:
            beliefs[task] = replace(beliefs[task], mean=gap.middle.mean)
        if each is None or not gap.size:
            continue
        predicted = None if blind else (beliefs[task].mean - gap.level) / gap.size
        gain, width = model.expect(each, predicted)
        beliefs[task] = gap.belief(gain, width)
    return replace(choice, beliefs=beliefs)


def say_what_was_kept(outcome: Outcome, best: Choice) -> tuple[str, ...]:
    """What was seen of the best, and where the probes say nothing, in sentences."""
    known = outcome.tried.get(best.label)
    sentences = []
    if known and known.kept:
        parts = ", ".join(f"{each.answers:.0%} on {task}" for task, each in known.kept.items())
        sentences.append(
            f"It was made and run on the probes; of the experts' own answers it keeps {parts}"
        )
        first = max(outcome.tried.items(), key=lambda item: _mean(item[1].predicted))[0]
        if first != best.label:
            sentences.append(f"By prediction alone, {first} was ahead of it among those tried")
    for task, why in outcome.silent.items():
        sentences.append(f"On {task} the probes say nothing: {why}")
    return tuple(sentences)


def say_where_it_was_shown() -> str:
    """What the intervals of tried merges rest on, where the models are far from that."""
    return f"That such intervals hold was shown on {tried.read().of} only"


def say_what_is_left(outcome: Outcome, order: Order) -> tuple[str, ...]:
    """Whether a merge that was not tried is predicted higher than the best of those that were."""
    rest = [choice for choice in outcome.choices if choice.label not in outcome.tried]
    if not outcome.tried or not rest:
        return ()
    other = max(rest, key=order.value)
    value = order.value(other)
    if value <= order.value(outcome.choices[0]):
        return ()
    return (
        f"{other.label} was not tried, and is predicted higher ({value:.2f}): "
        f"--try {2 * len(outcome.tried)} looks at more",
    )


def _mean(spreads: Mapping[str, Spread]) -> float:
    return sum(spread[0] for spread in spreads.values()) / max(1, len(spreads))
