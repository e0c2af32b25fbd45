"""`learn` on the Hub's machines: the recipe goes along, and what is learned is pushed from there.

A job has no disk that outlives it: what it leaves is what it pushes. So the recipe must name what
is on the Hub; a file or folder of this machine is refused by name.
"""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from simmerge_hub.errors import RequestError
from simmerge_hub.hub.upload.jobs import Job, submit
from simmerge_hub.learning.recipe import LearnRecipe

IMAGE = "python:3.12"


def submit_learning(
    recipe: Path,
    asked: LearnRecipe,
    push: str,
    options: Sequence[str] = (),
    *,
    flavor: str,
    package: str,
    timeout: str,
) -> Job:
    """Submit the job that measures and learns what `recipe` says, and pushes it.

    Args:
        recipe: its file, which goes along as it is.
        asked: what it says.
        push: `org/name` of the predictor.
        options: further words of the command.
        flavor: of the hardware.
        package: what pip installs there; whoever owns it gets the token of who submits.
        timeout: after which it is stopped.

    Raises:
        RequestError: the recipe names files of this machine, or nobody is logged in.
        HubError: the Hub is not reached, or refuses.
    """
    local = sorted(set(_local_paths(asked)))
    if local:
        raise RequestError(
            f"the job's machine has no {local[0]}",
            hint="put it on the Hub, and name it org/name in the recipe",
        )
    command = ["bash", "-c", learning_script(push, options)]
    variables = {"SIMMERGE_PACKAGE": package, "SIMMERGE_RECIPE": recipe.read_text("utf-8")}
    return submit(IMAGE, command, flavor=flavor, environment=variables, timeout=timeout)


def learning_script(push: str, options: Sequence[str] = ()) -> str:
    """What the job runs; the package and the recipe are in its environment."""
    return (
        "set -e; "
        'pip install --quiet "$SIMMERGE_PACKAGE"; '
        'printf "%s" "$SIMMERGE_RECIPE" > recipe.yaml; '
        f"simmerge-hub learn recipe.yaml -o learned {shlex.join(['--push', push, *options])}"
    )


def _local_paths(asked: LearnRecipe) -> Iterator[str]:
    """Whatever the recipe names that lies on this machine."""
    named = [*asked.models, asked.base]
    for task in asked.tasks:
        named += [task.evaluate, task.probes, task.include]
    for table in asked.together:
        named += [table.repo, table.outcomes, table.features]
    named += map(str, asked.measured)
    yield from (name for name in named if name and Path(name).expanduser().exists())
