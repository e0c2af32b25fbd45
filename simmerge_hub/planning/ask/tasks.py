"""Which tasks a set of models is merged for, and who is the expert for each.

The user names them, or the models' cards do: evaluation results (`model-index`) whose scores differ
between the models. Where the user asks for it, probes decide (`planning.find.inference`). Every
task that is left out is left out for a stated reason.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from simmerge_hub.errors import ProbeError, SimmergeError
from simmerge_hub.hub.evaluations import Evaluation, read_evaluations, unread_evaluations
from simmerge_hub.hub.files.location import is_owned_name
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.hub.texts import NATIVE
from simmerge_hub.literal import printable
from simmerge_hub.names import suggest
from simmerge_hub.planning.ask.options import Tasks
from simmerge_hub.signatures.probing.probe import PROBE_DOMAINS, probe_set

APART = "the models state scores by different metrics, or on different datasets"
TOO_CLOSE = 0.05
"""Scores closer than this (on a 0–1 scale) name no expert."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task, its expert, and where its probes come from (None: the package).

    `scores` are the parents' own, 0–1, by model name, where a card states them. `named`: the user
    says who the expert is. `probability` is how sure the expert is where it is inferred from
    probes; ½ before they are looked at.
    """

    name: str
    expert: str
    probes: str | None
    scores: Mapping[str, float]
    named: bool = False
    probability: float | None = None

    @property
    def relative(self) -> dict[str, float]:
        """Model -> its score over the expert's, where cards state them; the expert has 1.

        Where the expert is not the best by the cards, the user or the probes know better: scores
        that say otherwise are not used.
        """
        own = self.scores.get(self.expert, 0.0)
        shares = {m: score / own for m, score in self.scores.items() if score < own > 0}
        return {**shares, self.expert: 1.0}

    @property
    def source(self) -> str:
        """Who says so, in plain words."""
        if self.probability is not None:
            return f"inferred with probability {self.probability:.2f}"
        if self.named:
            return "as you say"
        own, other = self.scores[self.expert], min(self.scores.values())
        if len(self.scores) == 1:
            return f"the only score on the cards, {own:.2f}"
        return f"scores on the cards, {own:.2f} against {other:.2f}"


def tasks_of(
    models: Sequence[Checkpoint],
    asked: Tasks = Tasks(),
    *,
    rivals: bool = False,
    probed: bool = True,
) -> tuple[tuple[Task, ...], dict[str, str]]:
    """The tasks these models are merged for; and those left out, with the reason.

    What a card states and cannot be used, a task without probes or a metric that is no share, is
    left out; what the user names is not.

    Args:
        models: what is merged.
        asked: experts replace what the cards say, probes the default; where the expert is to be
            inferred, whatever the cards say, the first model stands in for it, with a probability
            of ½.
        rivals: whether several models may be good at the same task, and cards of strangers state
            what they like: the best is the expert of a task at which not all are alike, and where
            no score is stated none is expected.
        probed: whether probes are run, without which no expert can be inferred.

    Raises:
        ProbeError: nobody says who is good at what, or a named expert is not among the models.
    """
    stated = read_evaluations(models)
    experts = {task: _match(task, name, models) for task, name in asked.experts.items()}
    _check_open(asked.infer, experts)
    dropped: dict[str, str] = {}
    if not experts:
        experts, dropped = _from_scores(stated, len(models) if rivals else 0)
        unprobed = _without_probes([t for t in experts if t not in asked.probes], stated)
        experts = {task: name for task, name in experts.items() if task not in unprobed}
        dropped |= unprobed | unread_evaluations(models)
    experts |= dict.fromkeys(asked.infer, models[0].name)
    dropped = {task: why for task, why in dropped.items() if task not in asked.infer}
    if not experts:
        raise _nobody_says(
            models, dropped, asked.probes, infer=probed and not rivals and len(models) == 2
        )
    tasks = tuple(
        Task(
            name=name,
            expert=expert,
            probes=asked.probes.get(name) or _default_probes(name, stated),
            scores=stated[name].scores if name in stated else {},
            named=name in asked.experts,
            probability=0.5 if name in asked.infer else None,
        )
        for name, expert in experts.items()
    )
    return tasks, dropped


def _check_open(infer: Sequence[str], named: Mapping[str, str]) -> None:
    for task in infer:
        if task in named:
            raise ProbeError(
                f"the expert for {task} is named, and shall be inferred too",
                hint=f"leave out one of: --expert {task}={named[task]}, --infer-expert {task}",
            )


def _nobody_says(
    models: Sequence[Checkpoint],
    dropped: Mapping[str, str],
    probed: Collection[str],
    *,
    infer: bool,
) -> ProbeError:
    """The hint names the tasks that probes were given for; `infer`: whether experts can be."""
    seen = f" ({'; '.join(f'{t}: {why}' for t, why in dropped.items())})" if dropped else ""
    first, *others = [*probed, *(() if probed else ("code", "math"))]
    more = "".join(f" --expert {task}=…" for task in others)
    inferred = f"; or have them inferred: --infer-expert {first}" if infer else ""
    return ProbeError(
        f"nobody says which model is good at what: the cards have no telling scores{seen}",
        hint=f"name the experts: --expert {first}={models[0].name}{more}{inferred}",
    )


def tasks_on_card(model: Checkpoint) -> tuple[str, ...]:
    """The tasks its card states a score for, by the names that `tasks_of` gives them."""
    return tuple(read_evaluations([model]))


def _from_scores(
    stated: Mapping[str, Evaluation], rivals: int
) -> tuple[dict[str, str], dict[str, str]]:
    """Task -> expert, and task -> why it has none. Among so many rivals (0: the models are not
    rivals) the last place counts."""
    chosen: dict[str, str] = {}
    dropped: dict[str, str] = {}
    for name, task in stated.items():
        ordered = sorted(task.scores.values(), reverse=True)
        if rivals:
            ordered = [ordered[0], ordered[-1] if len(ordered) == rivals else 0.0]
        if len(ordered) < 2:
            dropped[name] = APART if task.apart else "only one model states a score"
        elif ordered[0] - ordered[1] < TOO_CLOSE:
            dropped[name] = f"the scores {ordered[0]:.2f} and {ordered[1]:.2f} are too close"
        else:
            chosen[name] = max(task.scores, key=lambda model: task.scores[model])
    return chosen, dropped


def _without_probes(tasks: Collection[str], stated: Mapping[str, Evaluation]) -> dict[str, str]:
    """The tasks that there are no probes for, and why."""
    dropped: dict[str, str] = {}
    for name in tasks:
        try:
            _default_probes(name, stated)
        except ProbeError as error:
            said = f"the card of {stated[name].card} names the dataset {stated[name].dataset}"
            dropped[name] = printable(f"{said}; {error}: {error.hint}")
    return dropped


def drop_unavailable(
    tasks: Sequence[Task], asked: Tasks, stated: Mapping[str, Evaluation]
) -> tuple[tuple[Task, ...], dict[str, str]]:
    """The tasks whose probes can be had; and those left out, with the reason.

    Raises:
        SimmergeError: the probes of a task that the user names cannot be had.
    """
    kept, dropped = list[Task](), dict[str, str]()
    for task in tasks:
        try:
            probe_set(task.name, task.probes)
            kept.append(task)
        except SimmergeError as error:
            if task.named or task.name in (*asked.probes, *asked.infer):
                raise
            said = f"the card of {stated[task.name].card} names it: " if task.name in stated else ""
            dropped[task.name] = printable(f"{said}{error}")
    return tuple(kept), dropped


def no_task_left(dropped: Mapping[str, str]) -> ProbeError:
    """The error for models that there is nothing to merge for."""
    seen = "; ".join(f"{task}: {why}" for task, why in dropped.items())
    return ProbeError(
        f"there is no task to merge these models for ({printable(seen)})",
        hint="name an expert and probes: --expert TASK=MODEL --probes TASK=org/dataset",
    )


def _match(task: str, name: str, models: Sequence[Checkpoint]) -> str:
    """The model a user calls `name`: as it was given, by its name, or by the name's last part."""
    whole = [m for m in models if name in (m.name, str(m.ref)) or _same_folder(name, m)]
    matches = whole or [m for m in models if name == m.name.rpartition("/")[2]]
    if len(matches) == 1:
        return matches[0].name
    seen = "several of the models" if matches else "not among the models"
    names = [m.name for m in models]
    known = [] if matches else [each.rpartition("/")[2] for each in names]
    meant = suggest(name.rpartition("/")[2], known)
    raise ProbeError(
        f"the expert for {task} is said to be {name}, which is {seen}",
        hint=f"name one of: {', '.join(names)}{meant and f'; {meant}'}",
    )


def _same_folder(name: str, model: Checkpoint) -> bool:
    return model.ref.folder is not None and Path(name).resolve() == model.ref.folder.resolve()


def probes_on_cards(models: Sequence[Checkpoint]) -> dict[str, str]:
    """Task -> the dataset on the Hub that the models' cards evaluate it on, no benchmark."""
    stated = read_evaluations(models).items()
    return {n: e.dataset for n, e in stated if not e.benchmark and _is_on_hub(e.dataset)}


def _is_on_hub(dataset: str) -> bool:
    return is_owned_name(dataset) and Path(dataset).suffix not in NATIVE


def _default_probes(name: str, stated: Mapping[str, Evaluation]) -> str | None:
    """A dataset a card evaluates on, unless it is a benchmark or a domain of the package.

    A card is a stranger's: what it names may be a dataset on the Hub, and no file here.
    """
    task = stated.get(name)
    if task is not None and not task.benchmark and _is_on_hub(task.dataset):
        return task.dataset
    if name in PROBE_DOMAINS:
        return None
    meant = suggest(name, [*PROBE_DOMAINS, *stated])
    raise ProbeError(
        f"there are no probes for the task {name!r}",
        hint=f"give a dataset of prompts: --probes {name}=org/dataset{meant and f'; {meant}'}",
    )
