"""A plan: the recipe, what was judged, and how all of it is written down."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from simmerge_hub.planning.ask.tasks import Task
from simmerge_hub.planning.choice import Choice
from simmerge_hub.planning.evidence import SAME_PROMPTS
from simmerge_hub.planning.find.few import Survey
from simmerge_hub.planning.tree import Tree, draw
from simmerge_hub.planning.verdict import Standing, Tried, Verdict
from simmerge_hub.planning.words.decision import Decision, summarize
from simmerge_hub.planning.words.html import decision_html
from simmerge_hub.recipe import Recipe, dump_yaml
from simmerge_hub.recipe.why import KEPT, Why, WhyMerge, WhyStep, WhyTask
from simmerge_hub.selector.predictor.measured import pairs, prompts
from simmerge_hub.selector.predictor.ranking import Contribution
from simmerge_hub.selector.predictor.trust import Trust
from simmerge_hub.signatures.merged.kept import Kept
from simmerge_hub.signatures.probing.probe import PACKAGED, ProbeSet
from simmerge_hub.units import Spread

MERGES_RECORDED = 10
"""Merges of three models and more that a plan records."""


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
        said = [self._of_others()] if self.verdict.status == "abstained" else []
        if SAME_PROMPTS in self.verdict.left_out.values():
            said.append(f"merges that look at activations are left out: {SAME_PROMPTS}")
        return summarize(self.verdict, self.tasks, self.models, coverage=self.coverage, also=said)

    def _of_others(self) -> str:
        """What is known of such a merge of two by other prompts, and in another family."""
        said, known = self._of_prompts(), pairs.read(pairs.ANOTHER_FAMILY)
        label = self.best.label
        if len(self.models) != 2 or label not in known.gains:
            return said
        by = " by prompts of each one's task" if self.recipe.sees_activations else ""
        family = f"on {known.pairs} {known.of}, it closed {known.gains[label]:.2f}{by}"
        return f"{said}; {family}" if said else family

    def _of_prompts(self) -> str:
        """What is known of a merge of two by the package's prompts, if it is fed those; or ""."""
        calibration, known = self.recipe.calibration, prompts.read().get(self.best.label)
        if calibration is None or known is None or len(self.models) != 2:
            return ""
        fed = [each.source for some in calibration.prompts.values() for each in some]
        return known.says() if all(source.startswith(PACKAGED) for source in fed) else ""

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

    def _repr_html_(self) -> str:
        """The decision, as notebooks show it."""
        return decision_html(self.decision)

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


def _kept(kept: Kept) -> dict[str, float]:
    """What a plan records of it."""
    return {name: getattr(kept, name) for name in KEPT}


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
