"""What to learn from: a catalogue, tasks, arms, a budget; one YAML file.

models: [org/code-7b, org/math-7b]       # or collection: org/title-0123456789abcdef01234567
base: org/base-7b
tasks:
  chat: {evaluate: ifeval, probes: org/prompts-chat}
  math: {evaluate: gsm8k, probes: openai/gsm8k:train:question}
arms: [linear, {ties: {density: 0.5}}, {regmean: {alpha: 0.9}}]
budget: 60                               # merges
limit: 200                               # prompts of a task
seed: 0
together:                                # tables of others, learned from as well
  - org/measured-merges
  - {outcomes: zoo.jsonl.gz, features: zoo-features.jsonl.gz, rows: 300}
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simmerge_hub.documents import DocumentError, read_yaml
from simmerge_hub.errors import OperatorError, RecipeError
from simmerge_hub.operators import Arm, arm, find
from simmerge_hub.operators.registry import is_own

KEYS = ("models", "collection", "base", "tasks", "arms", "budget", "limit", "seed", "together",
        "measured", "dtype", "evict")  # fmt: skip
TASK_KEYS = ("evaluate", "probes", "include")
TABLE_KEYS = ("outcomes", "features", "rows")
TASK = "{evaluate: gsm8k, probes: org/prompts}"
TABLE = "{outcomes: zoo.jsonl.gz, features: zoo-features.jsonl.gz}"
KINDS = {
    "tasks": (dict, "names of tasks, each with what it is evaluated on"),
    "arms": (list, "a list of ways to merge, such as [linear, {ties: {density: 0.5}}]"),
    "models": (list, "a list of models, such as [org/code-7b, ./math-7b]"),
    "together": (list, "a list of tables, such as [org/measured-merges]"),
    "measured": (list, "a list of files, such as [searched/measurements.jsonl.gz]"),
    "collection": (str, "one name, such as org/title-0123456789abcdef01234567"),
    "base": (str, "one model, such as org/base-7b"),
    "evict": (bool, "true or false"),
}
"""Keys of a recipe that are no numbers: of which kind, and what they say."""
NEEDED = ("tasks", "arms")
DTYPES = ("auto", "float32", "bfloat16", "float16", "float64")
"""That models can be run in."""
LIMIT = 200
"""Prompts of a task where the recipe does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnTask:
    """One task: what it is evaluated on in the harness, and the prompts it is compared on."""

    name: str
    evaluate: str
    probes: str | None = None
    include: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Outcomes and features of others: two files, or a dataset on the Hub that holds them.

    `rows` are taken of it at most, evenly spread; all if None.
    """

    outcomes: str = ""
    features: str = ""
    repo: str = ""
    rows: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnRecipe:
    """What is measured and learned from.

    Args:
        models: references, or () where a collection is named.
        collection: of the Hub, instead of models.
        base: what they were fine-tuned from, if cards do not say.
        tasks: what merges are evaluated on.
        arms: how models are merged; the budget pays for whole rows of them.
        budget: merges at most.
        limit: prompts of each task.
        seed: which prompts, and which pairs come first.
        together: tables of others.
        measured: tables of measurements: merges of this recipe that they hold are not made again.
        dtype: that models are run in; `auto`: as they are stored.
        evict: delete downloaded shards of the models after each merge: slower, and little disk.
    """

    models: tuple[str, ...]
    collection: str | None
    base: str | None
    tasks: tuple[LearnTask, ...]
    arms: tuple[Arm, ...]
    budget: int
    limit: int = LIMIT
    seed: int = 0
    together: tuple[Table, ...] = ()
    measured: tuple[Path, ...] = ()
    dtype: str = "auto"
    evict: bool = False


def load_learn_recipe(path: Path) -> LearnRecipe:
    """Read and check the recipe at `path`; files in it are beside it.

    Raises:
        RecipeError: it cannot be read, has an unknown key, or asks for what makes no sense.
    """
    try:
        given = read_yaml(path.read_text("utf-8"))
    except (OSError, DocumentError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise RecipeError(
            f"{path} cannot be read: {said}", hint="name a YAML file like recipes/nano-learn.yaml"
        ) from error
    if not isinstance(given, dict):
        raise RecipeError(f"{path} holds no keys", hint=f"keys are: {', '.join(KEYS)}")
    _refuse_unknown(given, KEYS, str(path))
    try:
        return _read(given, path.parent)
    except (LookupError, TypeError, ValueError, AttributeError, OperatorError) as error:
        raise RecipeError(
            f"{path} is no recipe to learn by: {error}",
            hint=getattr(error, "hint", "")
            or "docs/how-to/learn-from-your-models.md has one with every key",
        ) from error


def arm_of(given: Any) -> Arm:
    """`linear`, or `{ties: {density: 0.5}}`, checked against the registry.

    Raises:
        ValueError: it is neither.
        OperatorError: there is no such operator, or it takes no such parameters.
    """
    if isinstance(given, str):
        return arm(given)
    one = list(given.items()) if isinstance(given, dict) else []
    if len(one) != 1 or not isinstance(one[0][1] or {}, dict):
        raise ValueError(
            f"{given!r} is no way to merge: one is a name, or a name with its parameters, "
            "{ties: {density: 0.5}}"
        )
    ((name, parameters),) = one
    plain = {k: tuple(v) if isinstance(v, list) else v for k, v in (parameters or {}).items()}
    return arm(str(name), **plain)


def _read(given: Mapping[str, Any], folder: Path) -> LearnRecipe:
    for name, (kind, what) in KINDS.items():
        if name in NEEDED and not given.get(name):
            raise ValueError(f"it has no {name}: {what}")
        if given.get(name) is not None and not isinstance(given[name], kind):
            are = "are" if kind is not str and kind is not bool else "is"
            raise ValueError(f"its {name} {are} {given[name]!r}, and must be {what}")
    models = tuple(map(str, given.get("models") or ()))
    if bool(models) == bool(given.get("collection")):
        count = "both" if models else "neither"
        raise ValueError(f"it must name models or a collection, and names {count}")
    dtype = str(given.get("dtype", "auto"))
    if dtype not in DTYPES:
        raise ValueError(f"its dtype is {dtype!r}, and must be one of {', '.join(DTYPES)}")
    arms = tuple(map(arm_of, given["arms"]))
    budget = _whole(given, "budget", least=0)
    _check_arms(arms, budget)
    return LearnRecipe(
        models=models,
        collection=given.get("collection"),
        base=given.get("base"),
        tasks=tuple(_task(str(name), each, folder) for name, each in given["tasks"].items()),
        arms=arms,
        budget=budget,
        limit=_whole(given, "limit", LIMIT, least=1),
        seed=_whole(given, "seed", 0, least=0),
        together=tuple(_table(each, folder) for each in given.get("together") or ()),
        measured=tuple(_file(folder, each) for each in given.get("measured") or ()),
        dtype=dtype,
        evict=bool(given.get("evict")),
    )


def _check_arms(arms: Sequence[Arm], budget: int) -> None:
    """ValueError unless each arm is there once, and with the models the other way round too, and
    the budget pays for one pair."""
    labels = [each.label for each in arms]
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise ValueError(f"{twice[0]} is among its arms twice")
    lonely = [each.label for each in arms if each.swapped().label not in labels]
    if lonely:
        raise ValueError(f"of {lonely[0]}, the arm with the models the other way round is missing")
    if budget < len(arms):
        raise ValueError(f"a budget of {budget} merges pays for no pair with {len(arms)} arms")


def _file(folder: Path, given: Any) -> Path:
    path = folder / str(given)
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    return path


def _whole(given: Mapping[str, Any], key: str, default: int | None = None, *, least: int) -> int:
    value = given.get(key, default)
    if type(value) is not int or value < least:
        kind = "missing" if value is None else repr(value)
        raise ValueError(f"its {key} is {kind}, and must be a whole number from {least} on")
    return value


def _task(name: str, given: Any, folder: Path) -> LearnTask:
    fields = {"evaluate": given} if isinstance(given, str) else given
    if not isinstance(fields, dict):
        raise ValueError(f"its task {name} is {given!r}, and must be like {TASK}")
    _refuse_unknown(fields, TASK_KEYS, f"the task {name}")
    if not isinstance(fields.get("evaluate"), str):
        raise ValueError(f"its task {name} does not say what is evaluated; it must be like {TASK}")
    for key in ("probes", "include"):
        if not isinstance(fields.get(key) or "", str):
            raise ValueError(f"the {key} of its task {name} are {fields[key]!r}, and must be one")
    probes, include = fields.get("probes"), fields.get("include")
    if probes and (folder / probes).is_file():
        probes = str(folder / probes)
    evaluate = fields["evaluate"]
    if evaluate.endswith((".yaml", ".yml")):
        evaluate = str(folder / Path(evaluate).expanduser())
    return LearnTask(
        name=name,
        evaluate=evaluate,
        probes=probes,
        include=str(folder / include) if include else None,
    )


def _table(given: Any, folder: Path) -> Table:
    if isinstance(given, str):
        return Table(repo=given)
    if not isinstance(given, dict):
        raise ValueError(f"its table {given!r} is neither org/name nor like {TABLE}")
    _refuse_unknown(given, (*TABLE_KEYS, "repo"), "a table")
    rows = _whole(given, "rows", least=1) if given.get("rows") is not None else None
    if given.get("repo"):
        return Table(repo=str(given["repo"]), rows=rows)
    if absent := [name for name in ("outcomes", "features") if not given.get(name)]:
        raise ValueError(f"a table of it has no {absent[0]}; it must be like {TABLE}")
    outcomes, features = (str(_file(folder, given[name])) for name in ("outcomes", "features"))
    return Table(outcomes=outcomes, features=features, rows=rows)


def _refuse_unknown(given: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    unknown = [str(key) for key in given if key not in known]
    if unknown:
        raise RecipeError(
            f"{where} has a key that is not known: {unknown[0]}",
            hint=f"keys are: {', '.join(known)}",
        )


def sees_activations(recipe: LearnRecipe) -> bool:
    """Whether an arm runs the models on prompts."""
    return any(find(each.operator).activations for each in recipe.arms)


def check_elsewhere(recipe: LearnRecipe) -> None:
    """Raise RecipeError where other machines could not make the merges: they know only the
    operators that the package declares."""
    for each in recipe.arms:
        if is_own(each.operator):
            raise RecipeError(
                f"the operator {each.operator} is of your own, and other machines do not know it",
                hint="learn on this machine, by the same file: leave out --ray and --hf-jobs",
            )
