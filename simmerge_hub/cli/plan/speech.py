"""`--tokenizer` and `--chat-template` of a plan: whose they are, and whether these have any."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from simmerge_hub.errors import RecipeError

if TYPE_CHECKING:
    from simmerge_hub.hub.resolve import Checkpoint
    from simmerge_hub.planning.inputs import Inputs
    from simmerge_hub.planning.plan import Plan


def check(tokenizer: str | None, template: str | None, inputs: "Inputs") -> None:
    """Before anything is computed: whether the models that were given have what is asked for.

    Raises:
        RecipeError: none of them is called so, or it has no such file.
    """
    models = {model.name: model for model in inputs.models}
    if tokenizer not in (None, "auto", "base", "union"):
        name = _find_name("--tokenizer", tokenizer, models)
        if not models[name].tokenizer_files:
            raise RecipeError(
                f"{name} has no tokenizer", hint="name another model, or leave out --tokenizer"
            )
    if template is None or _is_text(template):
        return
    if template == "base":
        if inputs.base is not None:
            _check_template(inputs.base)
        return
    _check_template(models[_find_name("--chat-template", template, models)])


def speak(
    plan: "Plan",
    tokenizer: str | None,
    template: str | None,
    models: "Mapping[str, Checkpoint]",
) -> "Plan":
    """The plan with another tokenizer or chat template in its recipe.

    Args:
        plan: as it was made.
        tokenizer: a model's name, with or without its owner, `auto`, `base` or `union`.
        template: a model's name, `base`, a file in Jinja or such a text.
        models: those that were given, and the base.

    Raises:
        RecipeError: the plan does not merge the model.
    """
    if tokenizer is None and template is None:
        return plan
    from simmerge_hub.recipe import check_recipe

    merged = {name: models[name] for name in plan.best.tree.models}
    recipe = plan.recipe
    if tokenizer is not None:
        known = tokenizer in ("auto", "base", "union")
        name = tokenizer if known else _find_name("--tokenizer", tokenizer, merged)
        recipe = replace(recipe, tokenizer=name)
    if template is not None:
        recipe = replace(recipe, chat_template=_template(template, merged))
    check_recipe(recipe, "the plan")
    return replace(plan, recipe=recipe)


def _template(template: str, merged: "Mapping[str, Checkpoint]") -> str:
    """What the recipe says: a template, `base` or a model's name."""
    if _is_file(template):
        return Path(template).read_text(encoding="utf-8")
    if template == "base" or _is_text(template):
        return template
    return _find_name("--chat-template", template, merged)


def _find_name(option: str, given: str, models: "Mapping[str, Checkpoint]") -> str:
    """The name of one of these models, which may be given without its owner."""
    names = {name.rpartition("/")[2]: name for name in reversed(list(models))}
    names |= {name: name for name in models}
    if given not in names:
        raise RecipeError(
            f"{option} {given}: the merge has no model of that name",
            hint=f"name one of {', '.join(models)}, or base; a template may be a file in Jinja",
        )
    return names[given]


def _check_template(model: "Checkpoint") -> None:
    from simmerge_hub.weights.tokens.speech import default_template

    if not default_template(model):
        raise RecipeError(
            f"{model.name} has no chat template",
            hint="name another model, or a file in Jinja: --chat-template template.jinja",
        )


def _is_file(template: str) -> bool:
    try:
        return Path(template).is_file()
    except OSError:  # too long for a path
        return False


def _is_text(template: str) -> bool:
    """Whether it is a template itself, or a file that holds one."""
    from simmerge_hub.weights.tokens.speech import is_template

    return is_template(template) or _is_file(template)
