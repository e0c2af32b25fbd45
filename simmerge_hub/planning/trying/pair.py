"""Two models: the most promising of the predicted arms are made and run before one is chosen."""

from dataclasses import replace

from simmerge_hub.planning.ask.options import Ask
from simmerge_hub.planning.choice import Order, model_alone
from simmerge_hub.planning.evidence import Evidence
from simmerge_hub.planning.inputs import Inputs
from simmerge_hub.planning.pairs import pair_gaps
from simmerge_hub.planning.trying.answers import sort_answers
from simmerge_hub.planning.trying.decision import (
    Outcome,
    decide,
    is_seen,
    pick,
    run_all,
    say_what_is_left,
    say_what_was_kept,
    say_where_it_was_shown,
)
from simmerge_hub.planning.trying.trial import Workshop
from simmerge_hub.planning.verdict import Verdict, reasons
from simmerge_hub.progress import Note, Say
from simmerge_hub.selector.predictor.predictor import Predictor


def try_pair(
    verdict: Verdict,
    inputs: Inputs,
    evidence: Evidence,
    predictor: Predictor,
    ask: Ask,
    *,
    say: Say,
    note: Note | None,
) -> Verdict:
    """The verdict with the most promising arms, and the safe one, made and run.

    Args:
        verdict: by prediction.
        inputs: the two models.
        evidence: their signatures, with the experts' answers.
        predictor: where it abstains, arms come in the order of the outcomes nearest to these
            models, and what was seen is judged without a prediction.
        ask: how many are tried, and what they are ordered by.
        say: told which merge is made.
        note: told what it costs before it starts.

    Raises:
        ProbeError: there is no base.
        ObjectiveError: no merge that was tried keeps what must be kept.
        SimmergeError: a merge cannot be made.
    """
    answers = sort_answers(inputs, evidence)
    order = Order(objective=ask.objective, caution=0.0)
    blind = verdict.status == "abstained"
    choices = list(verdict.choices)
    if blind:
        known = predictor.beyond.gains
        choices.sort(key=lambda choice: -known.get(choice.label, -1.0))
    outcome = Outcome(choices=tuple(verdict.choices), silent=answers.silent)
    if answers.telling:
        workshop = Workshop(inputs=inputs, evidence=evidence, answers=answers.telling)
        chosen = pick(choices, ask.tries, verdict.trust.safe if verdict.trust else "")
        runs = run_all(workshop, chosen, say, note, asked=ask.tries)
        gaps = pair_gaps(inputs)
        outcome = decide(choices, runs, workshop, lambda _: gaps, order, blind=blind)
        workshop.leave(outcome.choices[0].tree)
        outcome = replace(outcome, silent=answers.silent)
    return _conclude(verdict, outcome, inputs, order)


def _conclude(verdict: Verdict, outcome: Outcome, inputs: Inputs, order: Order) -> Verdict:
    """The verdict with what trying came to; if nothing could be seen, as it was and with why."""
    best = outcome.choices[0]
    models = [model_alone(name, inputs.known) for name in inputs.names]
    kept = say_what_was_kept(outcome, best)
    if not outcome.tried:
        followed = verdict.trust is None or verdict.trust.followed
        why = reasons(outcome.choices, order, models) if followed else ()
        return replace(verdict, because=(*kept, *why, *verdict.because))
    tried = [choice for choice in outcome.choices if choice.label in outcome.tried]
    blind = verdict.status == "abstained"
    left = (say_where_it_was_shown(),) if blind else say_what_is_left(outcome, order)
    return replace(
        verdict,
        choices=outcome.choices,
        status="tried" if is_seen(outcome, best, pair_gaps(inputs)) else verdict.status,
        because=(*reasons(tried, order, models), *kept, *left),
        tried=outcome.tried,
    )
