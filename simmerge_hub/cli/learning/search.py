"""search: the best merge of some models within so many evaluations."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simmerge_hub.cli import arguments, show
from simmerge_hub.cli.learning.evaluate import add_machine
from simmerge_hub.errors import RequestError
from simmerge_hub.names import list_first
from simmerge_hub.units import spell_count

if TYPE_CHECKING:
    from simmerge_hub.learning.searching.attempts import Attempt
    from simmerge_hub.operators import Arm


def options(commands: Any) -> None:
    """Add `simmerge-hub search`."""
    command = arguments.command(
        commands, "search", run, "find the best merge of models within so many real evaluations"
    )
    command.add_argument("models", nargs="+", metavar="MODEL", help=arguments.REFERENCE)
    command.add_argument(
        "--tasks", action=arguments.Once, type=arguments.named_task, required=True,
        metavar="NAME=TASK",
        help="what is evaluated: a name, and the task in the harness: math=gsm8k (repeat)",
    )  # fmt: skip
    command.add_argument(
        "--probes", action=arguments.Once, type=arguments.pair, default=[], metavar="NAME=SOURCE",
        help="prompts of a task: org/dataset[:split[:column]] or a file (repeat)",
    )  # fmt: skip
    command.add_argument("--base", help="what the models were fine-tuned from")
    command.add_argument(
        "--budget", type=arguments.positive, required=True, metavar="N",
        help="evaluations of a merge on all prompts of all tasks",
    )  # fmt: skip
    command.add_argument(
        "--limit", type=arguments.positive, default=200, metavar="N",
        help="prompts of each task at most; default: 200",
    )  # fmt: skip
    command.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of prompts and search; default: 0"
    )
    command.add_argument(
        "--predictor", metavar="PREDICTOR", help="whose two best arms are tried first"
    )
    command.add_argument(
        "-o", "--output", required=True, metavar="DIR",
        help="state, recipe, merge and measurements; a search that was cut off goes on there",
    )  # fmt: skip
    add_machine(command)


def run(
    *,
    models: Sequence[str],
    tasks: Sequence[tuple[str, str]],
    budget: int,
    output: str,
    probes: Sequence[tuple[str, str]] = (),
    base: str | None = None,
    limit: int = 200,
    seed: int = 0,
    predictor: str | None = None,
    dtype: str = "auto",
    **how: Any,
) -> None:
    """`simmerge-hub search`; `how` are the fields of `Machine`."""
    from simmerge_hub.evaluation.harness import Machine, check_installed
    from simmerge_hub.hub.assets import writing
    from simmerge_hub.hub.resolve import resolve
    from simmerge_hub.learning.catalogue import open_catalogue
    from simmerge_hub.learning.learn import open_trial, protocol_of
    from simmerge_hub.learning.recipe import LearnRecipe, LearnTask
    from simmerge_hub.learning.searching import search as room
    from simmerge_hub.learning.searching.loop import check_budget
    from simmerge_hub.planning.ask.tasks import probes_on_cards
    from simmerge_hub.selector.predictor.origin import find

    check_installed()
    room.check_optuna()
    check_budget(budget)
    _check_probes([name for name, _ in tasks], [name for name, _ in probes])
    if predictor:
        find(predictor)  # a wrong name is told before models are evaluated
    stated = probes_on_cards([resolve(model) for model in models]) | dict(probes)
    recipe = LearnRecipe(
        models=tuple(models), collection=None, base=base, arms=(), budget=budget,
        tasks=tuple(LearnTask(name=n, evaluate=t, probes=stated.get(n)) for n, t in tasks),
        limit=limit, seed=seed, dtype=dtype,
    )  # fmt: skip
    folder = Path(output)
    with show.status("searching") as say:
        inputs = open_catalogue(recipe)
        room.check_folder(folder, inputs, recipe.tasks, protocol_of(recipe))
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        trial, _ = open_trial(
            recipe, inputs, folder, Machine(**how), lambda what, done, total: say(what), show.note
        )
        starts = room.starting_arms(trial, predictor, show.note)

        def tell(attempt: "Attempt", spent: float) -> None:
            show.note(f"{spent:5.2f}/{budget}  {_line(attempt, trial.inputs.names)}")

        found = room.search(trial, folder, budget=budget, starts=starts, tell=tell)
        say("merging the best")
        merged = room.measured_model(folder, found)
    merges = spell_count(len(found.attempts), "merge")
    show.line(
        f"{_name(found.arm, trial.inputs.names)} keeps {found.best.score:.3f} of the best models' "
        f"scores, mean over {', '.join(name for name, _ in tasks)}; {merges}, "
        f"{found.spent:.2f} evaluations"
    )
    show.note(f"written to {folder}; next: simmerge-hub push {shlex.quote(str(merged))} org/name")


def _check_probes(tasks: Sequence[str], probes: Sequence[str]) -> None:
    """RequestError where prompts are those of no task."""
    for name in probes:
        if name not in tasks:
            raise RequestError(
                f"--probes names {name}, which is none of --tasks",
                hint=f"write one of them: {list_first(tasks)}",
            )


def _line(attempt: "Attempt", models: Sequence[str]) -> str:
    from simmerge_hub.learning.searching.space import arm_from

    name = _name(arm_from(attempt.params, len(models)), models)
    if attempt.failed:
        return f"{name}: failed: {attempt.failed}"
    if attempt.score is None:
        return f"{name}: {attempt.few:.3f} on a quarter of the prompts; stopped"
    return f"{name}: {attempt.score:.3f}"


def _name(arm: "Arm", models: Sequence[str]) -> str:
    """As a plan calls it, with the alpha that tells two of a search apart."""
    from simmerge_hub.planning.words.names import name_arm, shorten

    alpha = arm.parameters.get("alpha")
    name = name_arm(arm, list(map(shorten(models), models)))
    return f"{name}, alpha {alpha:g}" if alpha is not None else name
