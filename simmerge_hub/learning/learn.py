"""A recipe -> measured merges, tables, and a predictor that learned from them and from others'.

Everything is kept as it comes: an interrupted run goes on where it was, and ends in the same table.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

from simmerge_hub.evaluation.harness import Machine, check_installed
from simmerge_hub.evaluation.results import Protocol
from simmerge_hub.hub.assets import writing
from simmerge_hub.hub.digest import answering_digest
from simmerge_hub.learning import measurements
from simmerge_hub.learning.catalogue import PairFeatures, base_of, open_catalogue, sign_catalogue
from simmerge_hub.learning.cost import check_disk, estimate
from simmerge_hub.learning.design import (
    Pair,
    all_pairs,
    choose_pairs,
    least_sure,
    round_sizes,
    spread_out,
)
from simmerge_hub.learning.known import keep_current, read_given
from simmerge_hub.learning.measurements import Measurement
from simmerge_hub.learning.recipe import LearnRecipe, check_elsewhere
from simmerge_hub.learning.tables import (
    FEATURES_FILE,
    JOURNAL_FILE,
    MEASUREMENTS_FILE,
    OUTCOMES_FILE,
    TABLE_FILES,
    check_own,
    load_others,
    outcomes_of,
)
from simmerge_hub.learning.trying import (
    Scores,
    Trial,
    measure_alone,
    task_digests,
    try_merges,
)
from simmerge_hub.planning.ask.tasks import Task
from simmerge_hub.planning.evidence import Evidence, prompts_by_model
from simmerge_hub.planning.inputs import Inputs
from simmerge_hub.progress import Note, Progress
from simmerge_hub.selector.predictor import archive
from simmerge_hub.selector.predictor.origin import PREDICTOR_FILE
from simmerge_hub.selector.predictor.predictor import Predictor
from simmerge_hub.selector.tables.features import FeatureTable, save_features
from simmerge_hub.selector.tables.outcomes import Outcomes, save_outcomes
from simmerge_hub.selector.tables.rows import join, stack
from simmerge_hub.selector.training.train import train
from simmerge_hub.workers.here import HERE, Workers, map_in_order

SCRATCH = "scratch"
Tables = Sequence[tuple[Outcomes, FeatureTable]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What was measured and learned.

    Args:
        measurements: all rows, failures included.
        outcomes, features: what training read of them.
        predictor: what was learned; None if nothing was trained.
    """

    measurements: tuple[Measurement, ...]
    outcomes: Outcomes
    features: FeatureTable
    predictor: Predictor | None


def learn(
    recipe: LearnRecipe,
    folder: Path,
    *,
    inputs: Inputs | None = None,
    others: Tables | None = None,
    machine: Machine | None = None,
    workers: Workers = HERE,
    fit: bool = True,
    progress: Progress = lambda what, done, total: None,
    note: Note | None = None,
) -> Learned:
    """Measure what the budget pays for, write the tables, train with those of others.

    Args:
        recipe: what is measured.
        folder: journal, tables and predictor; a run that was cut off goes on from there.
        inputs: of the recipe, if they are open already.
        others: the recipe's tables of others, if they are loaded already.
        machine: what runs models.
        workers: who signs, evaluates and merges: this process, or a cluster.
        fit: whether a predictor is trained.
        progress: told how far it is.
        note: told what should be kept.

    Raises:
        SimmergeError: the models cannot be merged or evaluated, there is too little to learn from,
            a table of others cannot be read, or the folder holds what was measured in another way.
            A merge that fails raises nothing: it is a row.
    """
    check_installed()
    if workers.elsewhere:
        check_elsewhere(recipe)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    check_own(folder, JOURNAL_FILE, (*TABLE_FILES, PREDICTOR_FILE))
    inputs = inputs or open_catalogue(recipe)
    measurements.read_merges(folder / JOURNAL_FILE, _digest(recipe, inputs))  # or it is refused
    others = load_others(recipe, inputs.names, fit=fit) if others is None else others
    cost, machine = estimate(recipe, inputs), machine or Machine()
    check_disk(folder, cost.disk)
    workers = workers.sized(cost.disk, machine.device)
    trial, evidence = open_trial(recipe, inputs, folder, machine, progress, note, workers)
    inputs = trial.inputs
    pairs = PairFeatures(inputs=inputs, evidence=evidence, arms=recipe.arms)
    try:
        rows = _measure(recipe, trial, pairs, others, folder / JOURNAL_FILE, progress, workers)
    finally:
        shutil.rmtree(trial.scratch, ignore_errors=True)
    learned = _tables(recipe, inputs, pairs, rows)
    measurements.save_measurements(rows, folder / MEASUREMENTS_FILE)
    save_outcomes(learned.outcomes, folder / OUTCOMES_FILE)
    save_features(learned.features, folder / FEATURES_FILE)
    if not fit:
        return learned
    progress("training", 0, 0)
    own = (learned.outcomes, learned.features)
    predictor = train([own], others=others, seed=recipe.seed)
    archive.save(predictor, folder / PREDICTOR_FILE)
    return replace(learned, predictor=predictor)


def protocol_of(recipe: LearnRecipe) -> Protocol:
    """How its tasks are put to a model."""
    return Protocol(limit=recipe.limit, seed=recipe.seed, dtype=recipe.dtype)


def open_trial(
    recipe: LearnRecipe,
    inputs: Inputs,
    folder: Path,
    machine: Machine,
    progress: Progress,
    note: Note | None,
    workers: Workers = HERE,
) -> tuple[Trial, Evidence]:
    """What merges are made and evaluated with: the models' own scores, who is best at what, and
    signatures with the prompts of the tasks."""
    protocol = protocol_of(recipe)
    scores = measure_alone(inputs, recipe.tasks, protocol, machine, workers, progress)
    inputs = replace(inputs, tasks=tuple(_with_expert(inputs, scores)))
    evidence = sign_catalogue(
        inputs,
        progress=lambda what: progress(what, 0, 0),
        note=note,
        spread=partial(map_in_order, workers) if workers.elsewhere else None,
    )
    trial = Trial(
        inputs=inputs,
        tasks=recipe.tasks,
        scores=scores,
        prompts=prompts_by_model(inputs, evidence),
        protocol=protocol,
        machine=machine,
        scratch=folder / SCRATCH,
        elsewhere=workers.elsewhere,
        evict=recipe.evict and not workers.elsewhere,  # others of the node may read them
    )
    return trial, evidence


def _with_expert(inputs: Inputs, scores: Scores) -> Iterator[Task]:
    """The tasks, each with the model that is best at it."""
    for task in inputs.tasks:
        own = {name: scores[task.name][name] for name in inputs.names}
        yield replace(task, expert=max(own, key=own.__getitem__), scores=own)


def _measure(
    recipe: LearnRecipe,
    trial: Trial,
    pairs: PairFeatures,
    others: Tables,
    journal: Path,
    progress: Progress,
    workers: Workers,
) -> list[Measurement]:
    """The rows of all pairs that the budget pays for, round by round."""
    of = _digest(recipe, trial.inputs)
    kept = {**read_given(recipe, trial), **measurements.read_merges(journal, of)}
    known = keep_current(kept, recipe, trial)
    measurements.start_journal(journal, of, known)
    open_pairs = [p for p in all_pairs(trial.inputs.names) if trial.rows_of(*p)]
    count = min(len(open_pairs), recipe.budget // len(recipe.arms))
    total, chosen = count * len(recipe.arms), list[Pair]()
    for size in round_sizes(count):
        left = [pair for pair in open_pairs if pair not in chosen]
        rows = [r for key, some in known.items() if key[:2] in chosen for r in some]
        chosen += _next_pairs(recipe, pairs, trial, others, rows, left, size)
        merges = [(*pair, arm) for pair in chosen for arm in recipe.arms]
        missing = [m for m in merges if (*m[:2], m[2].label) not in known]
        labels = {arm.label for arm in recipe.arms}
        for key, fresh, tried in try_merges(trial, missing, workers):
            known[key] = fresh
            if tried:  # what was lost is tried again when the run goes on
                measurements.add_to_journal(journal, key, fresh)
            done = sum(k[:2] in chosen and k[2] in labels for k in known)
            progress(f"{key[0]} + {key[1]}: {key[2]}", done, total)
    return [row for key, some in known.items() if key[:2] in chosen for row in some]


def _next_pairs(
    recipe: LearnRecipe,
    pairs: PairFeatures,
    trial: Trial,
    others: Tables,
    rows: Sequence[Measurement],
    left: Sequence[Pair],
    size: int,
) -> list[Pair]:
    """Spread over all at first; then those on which predictors of what is known disagree."""
    if not rows:
        return spread_out(pairs.points(left), size, seed=recipe.seed)
    measured = _tables(recipe, trial.inputs, pairs, rows)
    if not measured.outcomes.rows:
        return spread_out(pairs.points(left), size, seed=recipe.seed)
    arms = [a for a in recipe.arms if all(a in outcomes.arms for outcomes, _ in others)]
    known = [(measured.outcomes, measured.features), *others]
    unmeasured = [row for pair in left for row in _unmeasured(trial, pair, recipe)]
    asked = _tables(recipe, trial.inputs, pairs, unmeasured)
    fitted = stack([join(outcomes, features, arms) for outcomes, features in known])
    wanted = join(asked.outcomes, asked.features, arms)
    return choose_pairs(least_sure(fitted, wanted, seed=recipe.seed), size)


def _unmeasured(trial: Trial, pair: Pair, recipe: LearnRecipe) -> list[Measurement]:
    """Rows of a pair that was not merged, as if every arm kept nothing: nobody reads what."""
    return [
        Measurement(
            expert=expert, auxiliary=auxiliary, task=task.name, arm=arm.label, utility=0.0,
            alone={"expert": trial.scores[task.name][expert],
                   "auxiliary": trial.scores[task.name][auxiliary], "base": 0.0},
        )
        for expert, auxiliary, task in trial.rows_of(*pair)
        for arm in recipe.arms
    ]  # fmt: skip


def _tables(
    recipe: LearnRecipe, inputs: Inputs, pairs: PairFeatures, rows: Sequence[Measurement]
) -> Learned:
    """What was measured, as training reads it; nothing is learned yet."""
    base, parameters = base_of(inputs), inputs.parameters
    provenance = {
        "catalogue": sorted(inputs.names),
        "models": {m.name: answering_digest(m) for m in (*inputs.models, base)},
        "commits": {m.name: m.commit for m in (*inputs.models, base)},
        "evaluation": {t.name: t.evaluate for t in recipe.tasks},
        "limit": recipe.limit,
        "seed": recipe.seed,
        "failed": sum(bool(row.failed) for row in rows),
        "parameters": {base.name: parameters} if parameters else {},
    }
    outcomes = outcomes_of(rows, recipe.arms, base.name, provenance)
    return Learned(
        measurements=tuple(sorted(rows, key=lambda row: row.key)),
        outcomes=outcomes,
        features=pairs.table(sorted(row.key for row in outcomes.rows)),
        predictor=None,
    )


def _digest(recipe: LearnRecipe, inputs: Inputs) -> str:
    """Of what every row follows from, besides its own two models."""
    tasks = [task_digests(task) for task in recipe.tasks]
    how = [recipe.limit, recipe.seed, recipe.dtype, version("lm_eval")]
    parts = [measurements.SCHEMA, answering_digest(base_of(inputs)), tasks, how]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
