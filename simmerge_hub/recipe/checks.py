"""What makes a recipe impossible, before any input is read."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from simmerge_hub import operators
from simmerge_hub.errors import OperatorError, RecipeError
from simmerge_hub.names import list_first
from simmerge_hub.recipe import schedule
from simmerge_hub.recipe.calibration import Prompts
from simmerge_hub.recipe.recipe import Recipe, Slice, Step
from simmerge_hub.weights.shapes import OUTPUT_CODES
from simmerge_hub.weights.tokens.speech import is_template

UNPRINTED = set("`|<>")
"""Characters that names must not have: they mean something on a card."""
MOST_STEPS = 100
"""Of one program: what a step is made of is computed again whenever it is measured."""
NAMES_LISTED = 6
"""Names that a hint lists."""
UNMATCHED = ("refuse", "drop", "keep")
OUTPUTS = ("model", "adapter")


def check_recipe(recipe: Recipe, where: str = "the recipe", *, tried: bool = True) -> None:
    """Refuse what cannot be run: unknown names, operators or parameters. Reads no input.

    Args:
        recipe: what is to be run.
        where: what errors call it.
        tried: whether operators are run once on a single entry; not needed where that was done.
    """
    names = [s.name for s in recipe.sources]
    if len(set(names)) != len(names):
        raise recipe_error(
            where, f"two inputs are called the same ({', '.join(names)}): give one a `name:`"
        )
    for program in recipe.programs:
        based = recipe.base is not None or recipe.output == "adapter"
        _check_program(program, names, based, where, tried)
    for part in recipe.slices:
        _check_slice(part, recipe, names, where)
    _check_used(recipe, where)
    _check_words(recipe, where)
    _check_calibration(recipe, where)


def recipe_error(
    where: str, seen: str, hint: str = "docs/reference/recipe.md shows one"
) -> RecipeError:
    """The error for a text that is no recipe."""
    return RecipeError(f"{where} is no recipe: {seen}", hint=hint)


def _unknown_name(where: str, seen: str, name: str, known: Sequence[str]) -> RecipeError:
    """The error for a name that nothing has; it says which names there are, the nearest first."""
    last = Path(name).name
    near = [k for k in known if Path(k).name == last] or get_close_matches(name, known, n=1)
    hint = f"write {near[0]}" if near else f"write one of {list_first(known, NAMES_LISTED)}"
    return recipe_error(
        where, seen, f"{hint}: a folder is called by its last part, unless its entry has a `name:`"
    )


def _check_program(
    steps: tuple[Step, ...], names: list[str], base: bool, where: str, tried: bool
) -> None:
    if not steps:
        raise recipe_error(where, "it has no step")
    if len(steps) > MOST_STEPS:
        raise recipe_error(where, f"it has {len(steps):,} steps, more than {MOST_STEPS}")
    known = list(names)
    for step in steps:
        _check_step(step, known, base, where, tried)
        known += [step.name] if step.name else []
    for step in steps[:-1]:
        if not any(step.name in other.models for other in steps):
            raise recipe_error(
                where, f"no step uses {step.name or 'the result of a step without a name'}"
            )
    for name in known:
        if not name.isprintable() or set(name) & UNPRINTED:
            raise recipe_error(where, f"the name {name!r} would not print well: choose another")


def _check_step(step: Step, known: list[str], base: bool, where: str, tried: bool) -> None:
    for name in step.models:
        if name not in known:
            seen = f"a step uses {name!r}, which is no model and no earlier step"
            raise _unknown_name(where, seen, name, known)
    if step.name in known:
        raise recipe_error(where, f"a step is called {step.name!r}, as is something before it")
    _check_parameters(step, where)
    scheduled = any(map(schedule.is_scheduled, step.parameters.values()))
    for parameters in schedule.extremes(step.parameters):
        operator = operators.check(
            step.operator, parameters, len(step.models), tried=tried and not scheduled
        )  # values that never meet are not tried together: the layout tries those that do
        if operator.needs_base and not base:
            raise RecipeError(
                f"{where}: {operator.name} merges differences from a base, and there is no base",
                hint="add a `base:` to the recipe: what the models were fine-tuned from",
            )


def _check_parameters(step: Step, where: str) -> None:
    known = operators.find(step.operator).parameters
    for key, value in step.parameters.items():
        if key in known:
            schedule.refuse_malformed(value, f"{where}: {step.operator}: {key} is no parameter")
        if key == "density" and step.parameters.get("trim") == "model":
            _refuse_scheduled_share(value)
        if key in operators.GLOBAL and schedule.is_scheduled(value):
            raise OperatorError(
                f"{step.operator}: {key} is the same for all tensors",
                hint="give one value without gradient or filter",
            )


def _refuse_scheduled_share(value: Any) -> None:
    if schedule.is_scheduled(value):
        raise OperatorError(
            "a share of the whole model (trim: model) cannot differ between tensors",
            hint="give density without gradient or filter, or trim: tensor",
        )


LARGEST_ANSWER = 4096
"""Tokens of an answer that may be asked for."""


def _check_calibration(recipe: Recipe, where: str) -> None:
    """What looks at activations merges models of the recipe, all of which are fed something."""
    models, stated = [m.name for m in recipe.models], recipe.calibration
    for name in stated.prompts if stated else ():
        if name not in models:
            raise recipe_error(where, f"calibration feeds {name!r}, which is no model of it")
    if stated and stated.answers > LARGEST_ANSWER:
        raise recipe_error(where, f"answers is {stated.answers}, and may be {LARGEST_ANSWER}")
    _refuse_two_ways(recipe)
    for step in (step for program in recipe.programs for step in program):
        if not operators.find(step.operator).activations:
            _refuse_whole_model(step, recipe)
            continue
        if recipe.slices:
            raise OperatorError(
                f"{step.operator} looks at what whole models' layers are fed, and the recipe has "
                "slices",
                hint="merge whole models into a model with it, or use an operator on weights",
            )
        if recipe.output == "adapter":
            _check_fed_adapters(step, recipe)
        for name in step.models:
            if name not in models:
                raise OperatorError(
                    f"{step.operator} merges {name!r}, which was never run: it is no model of the "
                    "recipe",
                    hint="merge all models in one step: it takes any number of them",
                )
        prompts = {name: stated.prompts.get(name, ()) if stated else () for name in step.models}
        if unfed := [name for name, some in prompts.items() if not some]:
            shown = ", ".join(f"{name}: {_first_source(some)}" for name, some in prompts.items())
            raise OperatorError(
                f"{step.operator} runs each model on unlabelled prompts, and the recipe has none "
                f"for {' and '.join(unfed)}",
                hint=f"write `calibration: {{prompts: {{{shown}}}}}` with prompts of what each is "
                "good at: ours of another task, a dataset or a file",
            )


def _check_fed_adapters(step: Step, recipe: Recipe) -> None:
    """Adapters are run on their base, each as it is."""
    if recipe.base is None:
        raise OperatorError(
            f"{step.operator} runs the models, and the recipe says `output: adapter` and no base",
            hint="add a `base:` to the recipe: the model that the adapters were trained on",
        )
    if recipe.feeds_merge:
        raise OperatorError(
            f"{step.operator} with `inputs: merge` runs the merged model, which a recipe with "
            "`output: adapter` does not make",
            hint="leave out `inputs:`, or `output:` for a full model",
        )


def _refuse_two_ways(recipe: Recipe) -> None:
    """The models run once, so all steps that look at that see the same inputs."""
    steps = [step for program in recipe.programs for step in program]
    ways = {
        step.parameters.get("inputs", "models")
        for step in steps
        if operators.find(step.operator).activations
    }
    if len(ways) > 1:
        raise OperatorError(
            "one step looks at what the models' own layers leave (inputs: models), another at what "
            "the merge's leave (inputs: merge)",
            hint="say the same `inputs:` in all steps",
        )


def _first_source(prompts: Sequence[Prompts]) -> str:
    return prompts[0].source if prompts else "simmerge-hub:math"


def _refuse_whole_model(step: Step, recipe: Recipe) -> None:
    """What looks at all tensors first finds none of those that wait for activations."""
    if step.parameters.get("trim") == "model" and recipe.sees_activations:
        raise OperatorError(
            f"{step.operator} with `trim: model` looks at all tensors before the first is merged, "
            "and another step of the recipe waits for activations",
            hint="say `trim: tensor`, or merge in two recipes",
        )


def _check_slice(part: Slice, recipe: Recipe, names: list[str], where: str) -> None:
    if any(s.parameters.get("trim") == "model" for s in part.steps or recipe.steps):
        raise recipe_error(where, "trim: model looks at a whole model, and the recipe has slices")
    for name, (first, last) in part.layers.items():
        if first < 0 or last <= first:
            raise recipe_error(
                where,
                f"a slice takes layers [{first}, {last}] of {name}: write [first, end], counted "
                "from 0 and without the end, as in [0, 2] for the first two",
            )
    lengths = {last - first for first, last in part.layers.values()}
    if len(lengths) != 1:
        shown = ", ".join(f"{name} {list(span)}" for name, span in part.layers.items())
        raise recipe_error(where, f"a slice takes different numbers of layers: {shown or 'none'}")
    used = {name for step in part.steps or recipe.steps for name in step.models}
    for name in part.layers:
        if name not in names:
            seen = f"a slice takes layers of {name!r}, which is no model"
            raise _unknown_name(where, seen, name, names)
    base = recipe.base.name if recipe.base else None
    for name in part.layers:
        if name not in used and name != base:
            raise recipe_error(where, f"a slice takes layers of {name}, and merges it nowhere")
    for name in names:
        if name in used and name not in part.layers and name != base:
            raise recipe_error(where, f"a slice uses {name}, and does not say which layers of it")


def _check_used(recipe: Recipe, where: str) -> None:
    used = {name for program in recipe.programs for step in program for name in step.models}
    for model in recipe.models:
        if model.name not in used:
            raise recipe_error(where, f"no step uses {model.name}")


def _check_words(recipe: Recipe, where: str) -> None:
    if recipe.dtype and recipe.dtype not in OUTPUT_CODES:
        raise recipe_error(
            where, f"dtype is {recipe.dtype!r}; write one of {', '.join(OUTPUT_CODES)}"
        )
    if recipe.tokenizer not in {"auto", "base", "union", *(m.name for m in recipe.models)}:
        raise recipe_error(
            where, f"tokenizer is {recipe.tokenizer!r}; write auto, base, union or a model's name"
        )
    named = {"", "base", *(m.name for m in recipe.models)}
    if recipe.chat_template not in named and not is_template(recipe.chat_template):
        raise recipe_error(
            where,
            f"chat_template is {recipe.chat_template[:40]!r}; write base, a model's name, or a "
            "template in Jinja",
        )
    if recipe.chat_template and recipe.output == "adapter":
        raise recipe_error(where, "with `output: adapter` it has no chat_template")
    if recipe.unmatched not in UNMATCHED:
        raise recipe_error(
            where, f"unmatched is {recipe.unmatched!r}; write {', '.join(UNMATCHED)}"
        )
    if recipe.output not in OUTPUTS:
        raise recipe_error(where, f"output is {recipe.output!r}; write {' or '.join(OUTPUTS)}")
    if recipe.rank and recipe.output != "adapter":
        raise recipe_error(where, f"rank is {recipe.rank}, which only `output: adapter` has")
    if recipe.output == "adapter":
        _check_adapter(recipe, where)


def _check_adapter(recipe: Recipe, where: str) -> None:
    """Adapters are merged in one step, with the same parameters everywhere."""
    if len(recipe.steps) != 1 or recipe.slices:
        raise recipe_error(where, "with `output: adapter` it has one step and no slices")
    if any(map(schedule.is_scheduled, recipe.steps[0].parameters.values())):
        raise recipe_error(where, "with `output: adapter` parameters are the same for all tensors")
