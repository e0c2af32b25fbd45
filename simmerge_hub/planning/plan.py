"""Models in, a Plan out: what to merge and how, what to expect, and why.

Everything here is prediction: no model is evaluated, and none is merged unless the user lets the
most promising merges be tried on the probes.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from time import perf_counter
from typing import Any

from simmerge_hub.errors import NotSigned
from simmerge_hub.planning.ask.objective import MEAN, Objective
from simmerge_hub.planning.ask.options import Ask, Catalogue, Say, Search, Sources, Tasks
from simmerge_hub.planning.ask.tasks import Task
from simmerge_hub.planning.choice import Choice
from simmerge_hub.planning.evidence import Evidence, prompts_by_model, sign_all
from simmerge_hub.planning.find.few import Survey, find_few
from simmerge_hub.planning.find.inference import infer_experts
from simmerge_hub.planning.inputs import Inputs, pin
from simmerge_hub.planning.pairs import judge_pair
from simmerge_hub.planning.tree import Tree, draw, recipe_of
from simmerge_hub.planning.trees.judge import judge_trees
from simmerge_hub.planning.trying.pair import try_pair
from simmerge_hub.planning.verdict import Standing, Tried, Verdict
from simmerge_hub.planning.words.decision import Decision, summarize
from simmerge_hub.recipe import Recipe, dump_yaml
from simmerge_hub.recipe.why import KEPT, Spread, Why, WhyMerge, WhyStep, WhyTask
from simmerge_hub.selector.predictor import origin
from simmerge_hub.selector.predictor.predictor import Predictor
from simmerge_hub.selector.predictor.ranking import Contribution
from simmerge_hub.selector.predictor.trust import Trust
from simmerge_hub.signatures.features.vector import FEATURE_SCHEMA, KNOWN
from simmerge_hub.signatures.merged.kept import Kept
from simmerge_hub.signatures.probing.probe import ProbeSet

MERGES_RECORDED = 10
"""Merges of three models and more that a plan records."""
REASONS_RECORDED = 100
"""Candidates of a catalogue whose reasons a plan records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to merge and how, what it should give, and what was decided against.

    Utilities are shares of the task expert's score that a merge keeps, 1 = as good as the expert.

    Args:
        recipe: the chosen merge, with the chosen models only.
        tasks: of all models that were given.
        probes: task -> what was run.
        verdict: the merges that were judged, best first; the reasons; how far to believe them.
        left_out: tasks, arms and models that were dropped -> the reason.
        predictor: digest of the predictor's training data.
        predictor_from: where it was read: `the package`, `a local file` or `org/name@commit`.
        coverage: the share of outcomes that intervals hold where they are calibrated.
        signatures: where they came from: model -> `weights` or a task -> `cache`, `computed` or a
            repository.
        seconds: what it took: `reading`, `signing`, `predicting`.
        survey: what became of the models of a catalogue; None if models were named.
    """

    recipe: Recipe
    tasks: tuple[Task, ...]
    probes: Mapping[str, ProbeSet]
    verdict: Verdict
    left_out: Mapping[str, str]
    predictor: str
    predictor_from: str
    coverage: float
    signatures: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    survey: Survey | None = None

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The merges that were judged, best first."""
        return self.verdict.choices

    @property
    def best(self) -> Choice:
        """The choice the recipe runs."""
        return self.verdict.best

    @property
    def tried(self) -> Mapping[str, Tried]:
        """Label of a merge that was made and run on the probes -> what was seen of it."""
        return self.verdict.tried

    @property
    def of_many(self) -> bool:
        """Whether it was made from three models or more, and chose which of them to merge."""
        return bool(self.verdict.parts)

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models that were compared, those that are merged first."""
        experts = [task.expert for task in self.tasks]
        without = [name for name in self.left_out if name in self.signatures]
        return tuple(dict.fromkeys([*self.best.tree.models, *experts, *without]))

    @property
    def decision(self) -> Decision:
        """The plan as one screen: what to do, what to expect, how sure and why."""
        return summarize(self.verdict, self.tasks, self.models, coverage=self.coverage)

    @property
    def tree(self) -> list[str]:
        """The chosen tree as lines of text, with the utility of every merge in it on its tasks."""
        notes = {task.expert: f"({task.name})" for task in self.tasks}
        for merge in self.best.tree.merges:
            own = ", ".join(f"{task} {each[0]:.2f}" for task, each in self._own(merge).items())
            notes[merge.label] = f"→ {own}" if own else ""
        return draw(self.best.tree, notes)

    def explain(self) -> str:
        """How far to believe it, and why this merge."""
        return f"{self.verdict.status}: {self.verdict.reason}"

    def to_yaml(self) -> str:
        """The recipe with its `why:`, as plan.yaml holds it."""
        return self.recipe.to_yaml() + dump_yaml({"why": self.why().to_dict()})

    def why(self) -> Why:
        """What was predicted and from what; `recipe` ties it to its recipe."""
        verdict, many = self.verdict, self.of_many
        shown = self.choices[:MERGES_RECORDED] if many else self.choices
        return Why(
            recipe=self.recipe.fingerprint,
            choice=self.best.label,
            status=verdict.status,
            objective=verdict.objective.aim([task.name for task in self.tasks]),
            reason=verdict.reason,
            coverage=self.coverage,
            predictor=self.predictor,
            predictor_from=self.predictor_from,
            tasks=tuple(map(self._task, self.tasks)),
            predictions=tuple(map(self._merge, shown)),
            left_out=self.left_out,
            tree=tuple(self.tree) if many else (),
            steps=self._steps() if many else (),
            tried=tuple(verdict.tried),
            chosen_by="bandit" if verdict.suggested else "",
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for programs: the `why`, the recipe as YAML text, the signatures' origins.

        `evidence` holds, by task, the features that decided and what each adds to the lead;
        `trust` whether the ranking is followed, its lead over the safe arm, and the error of such
        leads, both as gains; `suggested`, by task, under which id a bandit is told what the merge
        gains; `catalogue` every candidate.
        """
        data = {
            **self.why().to_dict(),
            "recipe": self.recipe.to_yaml(),
            "suggested": dict(self.verdict.suggested),
            "trust": _trust(self.verdict.trust),
            "signatures": {name: dict(parts) for name, parts in self.signatures.items()},
            "evidence": {
                task: [_evidence(each) for each in standing.contributions]
                for task, standing in self.verdict.standings.items()
            },
            "scored": self.verdict.scored,
            "seconds": {what: round(each, 3) for what, each in self.seconds.items()},
        }
        return data | ({"catalogue": asdict(self.survey)} if self.survey else {})

    def _own(self, merge: Tree) -> dict[str, Spread]:
        """What a merge in the chosen tree is expected to keep on its models' own tasks."""
        spreads = self.verdict.parts.get(merge.label, self.best).spreads()
        return {t.name: spreads[t.name] for t in self.tasks if t.expert in merge.models}

    def _task(self, task: Task) -> WhyTask:
        probes = self.probes.get(task.name)
        return WhyTask(
            task=task.name,
            expert=task.expert,
            probes=probes.source if probes else "none",
            digest=probes.digest if probes else "",
            probability=task.probability,
            scores=dict(task.scores),
            novelty=_novelty(self.verdict.standings[task.name]),
        )

    def _merge(self, choice: Choice) -> WhyMerge:
        seen = self.tried.get(choice.label)
        return WhyMerge(
            merge=choice.label,
            utility=self.verdict.value(choice),
            tasks=choice.spreads(),
            pareto=self.verdict.on_front(choice),
            missing=self.verdict.missing(choice),
            kept={task: _kept(each) for task, each in seen.kept.items()} if seen else {},
            predicted=seen.predicted if seen else {},
        )

    def _steps(self) -> tuple[WhyStep, ...]:
        merges = zip(self.recipe.steps, self.best.tree.merges, strict=True)
        return tuple(WhyStep(step=step.name, tasks=self._own(merge)) for step, merge in merges)


def plan(
    *models: str,
    catalogue: Catalogue | None = None,
    base: str | None = None,
    tasks: Tasks = Tasks(),
    objective: Objective = MEAN,
    sources: Sources = Sources(),
    search: Search = Search(),
    tries: int = 0,
    progress: Say | None = None,
    note: Say | None = None,
    pinned: Callable[[Inputs], None] | None = None,
) -> Plan:
    """Predict which of two models or more to merge, in which order and with which operators.

    Args:
        models: references: `org/name[@revision]` or folders; adapters count as models.
        catalogue: instead of models: a collection of the Hub, or an author's fine-tunes of `base`.
        base: the model they were fine-tuned from, if their cards do not say.
        tasks: who is good at what, and the prompts that stand for it, if the cards do not say.
        objective: what merges are judged by; the mean over tasks by default.
        sources: where the evidence comes from: predictor, signals, signatures, bandit.
        search: how far to search among three models or more.
        tries: so many of the most promising merges, and the safe one, are made, one at a time in a
            temporary folder, and run on the probes before one is chosen; no label is needed.
        progress: told what is being done.
        note: told what should be kept: bytes to download, signatures that are not believed.
        pinned: shown the models and their base before anything of them but headers is read.

    Raises:
        RequestError: what is asked cannot be had of so many models.
        SimmergeError: the models cannot be merged, or there is nothing to predict from.
    """
    ask = Ask(
        catalogue=catalogue, tasks=tasks, objective=objective, sources=sources, search=search,
        tries=tries,
    )  # fmt: skip
    ask.check(len(models))
    return _make(models, base, ask, progress or (lambda _: None), note, pinned)


def _make(
    models: Sequence[str],
    base: str | None,
    ask: Ask,
    say: Say,
    note: Say | None,
    pinned: Callable[[Inputs], None] | None,
) -> Plan:
    """References -> inputs -> evidence -> verdict -> plan, each in a room of its own."""
    began = perf_counter()
    trained = origin.find(ask.sources.predictor)
    names = trained.predictor.names
    trained.predictor.check([name for name in names if name in KNOWN], FEATURE_SCHEMA)
    say("reading headers")
    inputs, survey = _find_inputs(models, base, ask, say)
    if note:
        for sentence in inputs.notes:
            note(sentence)
    if pinned:
        pinned(inputs)
    read = perf_counter()
    wanted = {"names": names, "answers": bool(ask.tries), "progress": say, "note": note}
    try:
        evidence = sign_all(inputs, ask.sources, **wanted)
    except NotSigned as error:
        if note:
            note(f"{error}: weights alone are compared, and intervals are wider")
        ask = replace(ask, sources=replace(ask.sources, signals="structural"))
        evidence = sign_all(inputs, ask.sources, **wanted)
    signed = perf_counter()
    say("predicting")
    inputs = infer_experts(inputs, evidence.signatures)
    verdict = _judge(inputs, evidence, trained.predictor, ask, say, note)
    seconds = {"reading": read - began, "signing": signed - read}
    return Plan(
        recipe=recipe_of(
            verdict.best.tree, inputs.models, inputs.base, prompts_by_model(inputs, evidence)
        ),
        tasks=inputs.tasks,
        probes=evidence.probes,
        verdict=verdict,
        left_out={**inputs.dropped, **verdict.left_out, **_record(survey)},
        predictor=trained.predictor.training,
        predictor_from=trained.origin,
        coverage=1 - trained.predictor.alpha,
        signatures=evidence.origins,
        seconds=seconds | {"predicting": perf_counter() - signed},
        survey=survey,
    )


def _find_inputs(
    models: Sequence[str], base: str | None, ask: Ask, say: Say
) -> tuple[Inputs, Survey | None]:
    """The models that are named, or the best few of a catalogue; with tasks that are aimed at."""
    if ask.catalogue:
        inputs, survey = find_few(ask.catalogue, base, ask, progress=say)
    else:
        probed = ask.sources.signals != "structural"
        inputs, survey = pin(models, base, ask.tasks, probed=probed), None
    ask.objective.check([task.name for task in inputs.tasks])
    ask.check_size(len(inputs.models))
    return inputs, survey


def _judge(
    inputs: Inputs,
    evidence: Evidence,
    predictor: Predictor,
    ask: Ask,
    say: Say,
    note: Say | None,
) -> Verdict:
    if len(inputs.models) != 2:
        return judge_trees(inputs, evidence, predictor, ask, progress=say, note=note)
    verdict = judge_pair(inputs, evidence, predictor, ask)
    if not ask.tries:
        return verdict
    return try_pair(verdict, inputs, evidence, predictor, ask, say=say, note=note)


def _kept(kept: Kept) -> dict[str, float]:
    """What a plan records of it."""
    return {name: getattr(kept, name) for name in KEPT}


def _record(survey: Survey | None) -> dict[str, str]:
    """The first of the candidates that are left out; of the rest the number."""
    dropped = dict(survey.dropped) if survey else {}
    more = len(dropped) - REASONS_RECORDED
    if more <= 0:
        return dropped
    first = dict(islice(dropped.items(), REASONS_RECORDED))
    return {**first, f"{more} more candidates": "too many to record"}


def _novelty(standing: Standing) -> dict[str, float | str]:
    """How far the models are from the training data, beside what is usual there."""
    novelty, usual = standing.novelty, standing.usual
    facts: dict[str, float | str] = {
        "status": novelty.status,
        "outside": novelty.outside,
        "distance": novelty.distance,
    }
    if usual is not None:
        facts |= {"usual_outside": usual.outside, "usual_distance": usual.distance}
    return facts


def _trust(trust: Trust | None) -> dict[str, Any]:
    """Whether the ranking is followed, and by what; an error nothing is known of is None."""
    if trust is None:
        return {}
    error = round(trust.error, 4) if math.isfinite(trust.error) else None
    return asdict(trust) | {"lead": round(trust.lead, 4), "error": error}


def _evidence(each: Contribution) -> dict[str, Any]:
    """One feature of those that decided; a missing value is None."""
    return {
        "feature": each.feature,
        "says": each.says,
        "value": None if math.isnan(each.value) else each.value,
        "lead": round(each.lead, 4),
    }
