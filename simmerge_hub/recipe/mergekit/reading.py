"""A recipe of mergekit -> one of ours that merges the same, or an error that says why not."""

from collections.abc import Mapping, Sequence
from typing import Any

from simmerge_hub import operators
from simmerge_hub.errors import RecipeError
from simmerge_hub.recipe.checks import check_recipe
from simmerge_hub.recipe.mergekit.document import (
    Document,
    Entry,
    Part,
    document_error,
    parse,
)
from simmerge_hub.recipe.mergekit.parameters import METHODS, Method, Parameter
from simmerge_hub.recipe.mergekit.references import Reference, sources
from simmerge_hub.recipe.mergekit.refusals import Refusals
from simmerge_hub.recipe.mergekit.settings import (
    RENUMBERED,
    combine,
    pointwise,
    resolve_setting,
    share_of_second,
    texts_with_digits,
)
from simmerge_hub.recipe.recipe import Recipe, Slice, Source, Step

MULTISLERP_EPSILON = 1e-8
"""Of multislerp: mergekit adds it to norms. Ours has no need of it."""
Names = Mapping[Reference, Source]


def read(text: str, where: str) -> Recipe:
    """The recipe that merges what a mergekit recipe does, with mergekit's defaults written out.

    Args:
        text: YAML as mergekit 0.1.5 reads it.
        where: what to call it in messages.

    Raises:
        RecipeError: mergekit would not run it either, or it asks for what cannot be done here:
            then one error names every key of that kind.
        OperatorError: an operator does not take a parameter's value.
        RepoNotFound: a model is named by what is neither a folder nor a repository's name.
    """
    refusals = Refusals(f"{where} has what cannot be done here")
    document = parse(text, where, refusals)
    base = _base(document, refusals)
    home = Reference(base.model) if base else _home_of_adapters(document)
    _check_adapters(document, home, refusals)
    names = _names(document, home, base)
    try:
        steps, layers = _programs(document, base, names, refusals)
    except RecipeError:
        refusals.settle()  # a parameter may be missing because its name is misspelled
        raise
    tokenizer = _tokenizer(document, home, names, refusals)
    refusals.settle()
    alike = all(step == steps[0] for step in steps)
    own = [() if alike else (step,) for step in steps]
    recipe = Recipe(
        base=names[home] if home else None,
        models=tuple(source for reference, source in names.items() if reference != home),
        steps=tuple(steps[:1]) if alike else (),
        slices=tuple(
            Slice(layers=span, steps=mine) for span, mine in zip(layers, own, strict=True) if span
        ),
        dtype=document.dtype,
        tokenizer=tokenizer,
        chat_template=document.chat_template,
    )
    check_recipe(recipe, where)
    return recipe


def _base(document: Document, refusals: Refusals) -> Reference | None:
    """The base_model of the whole and of every slice. It may have a LoRA where it is an input."""
    bases = [part.base or document.base for part in document.parts]
    base = document.base or bases[0]
    for index, other in enumerate(bases):
        if other != base:
            refusals.add(f"slices[{index}].base_model", "give one base_model for the whole recipe")
    if base and base.lora and METHODS[document.method].base in ("required", "optional"):
        refusals.add(
            f"base_model {base}", f"merge {base.lora} into {base.model} first, and name that"
        )
    return base


def _home_of_adapters(document: Document) -> Reference | None:
    """Without a base_model: what the first adapter sits on. It takes no part in the merge."""
    host = next((each.model for each in _inputs(document) if each.lora), None)
    return Reference(host) if host else None


def _check_adapters(document: Document, home: Reference | None, refusals: Refusals) -> None:
    for model in _inputs(document):
        if model.lora and home and model.model != home.model:
            refusals.add(
                str(model),
                f"its base is not {home}: merge {model.lora} into {model.model} first "
                "(peft's merge_and_unload) and name the result",
            )


def _inputs(document: Document) -> list[Reference]:
    return [entry.model for part in document.parts for entry in part.entries]


def _names(document: Document, home: Reference | None, base: Reference | None) -> Names:
    """Every input with the source it is here, the base first."""
    inputs = [model for model in (home, base, *_inputs(document)) if model]
    chosen = document.tokenizer
    reserved: set[str] = set()
    if isinstance(chosen, Reference) and chosen != home:  # a model called union is not the union
        reserved = {"base", "union"} & {chosen.model.path.rstrip("/").rpartition("/")[2]}
    return sources(inputs, reserved)


def _tokenizer(document: Document, home: Reference | None, names: Names, refusals: Refusals) -> str:
    chosen = document.tokenizer
    if not isinstance(chosen, Reference):
        return chosen or "auto"
    adapters = [each for each in names if each.lora == chosen.model and not chosen.lora]
    if chosen not in names and adapters:  # an adapter is named without its base
        chosen = adapters[0]
    if chosen == home:
        return "base"
    if chosen not in names:
        refusals.add(
            f"the tokenizer of {chosen}",
            f"name base_model or one of the models that are merged: {', '.join(map(str, names))}",
        )
        return "base"
    return names[chosen].name


def _programs(
    document: Document, base: Reference | None, names: Names, refusals: Refusals
) -> tuple[list[Step], list[dict[str, tuple[int, int]]]]:
    """For each slice, or for the whole: its step, and the layers it takes of each model."""
    steps: list[Step] = []
    layers: list[dict[str, tuple[int, int]]] = []
    offset = 0
    for index, part in enumerate(document.parts):
        at = f"slices[{index}].sources" if document.sliced else "models"
        merged = _merge_inputs(document, part, base, at)
        values = _values(document, part, merged, offset, refusals)
        parameters = _parameters(document.method, values, len(merged), refusals)
        if METHODS[document.method].base == "optional":
            parameters["origin"] = "base" if base else "zero"
        models = tuple(names[entry.model].name for entry in merged)
        steps.append(Step(operator=document.method, models=models, parameters=parameters))
        layers.append({names[e.model].name: e.span for e in part.entries if e.span})
        offset += next((last - first for first, last in layers[-1].values()), 0)
    return steps, layers


def _merge_inputs(document: Document, part: Part, base: Reference | None, at: str) -> list[Entry]:
    """What the operator merges, in order. mergekit adds a base that `models:` does not list."""
    policy = METHODS[document.method].base
    own = [entry for entry in part.entries if entry.model == base]
    others = [entry for entry in part.entries if entry.model != base]
    added = [Entry(model=base)] if base and not own and not document.sliced else []
    if policy in ("required", "first") and base is None:
        raise document_error(
            document.where, f"{document.method} needs a base_model", "add `base_model:`"
        )
    if policy != "ignored" and base and not own and not added:
        raise document_error(
            document.where, f"base_model {base} is not in {at}", f"add it to {at}, with its layers"
        )
    if policy == "first":
        merged = own + added + others
    else:
        merged = [*part.entries, *added] if policy == "ignored" else others
    _check_count(document, merged, base, at)
    return merged


def _check_count(
    document: Document, merged: Sequence[Entry], base: Reference | None, at: str
) -> None:
    least, most = operators.find(document.method).models
    if least <= len(merged) <= (most or len(merged)):
        return
    allowed = f"exactly {least}" if least == most else f"at least {least}"
    noun = "model" if allowed == "exactly 1" else "models"
    besides = METHODS[document.method].base in ("required", "optional")
    given = ", ".join(str(entry.model) for entry in merged) or "none"
    counted = any(entry.model == base for entry in merged)
    raise document_error(
        document.where,
        f"{document.method} merges {allowed} {noun}{' besides the base' * besides}, and {at} "
        f"gives {len(merged)}: {given}",
        "base_model counts as one of them, listed or not"
        if counted
        else "list as many, or choose another merge_method",
    )


def _values(
    document: Document, part: Part, merged: Sequence[Entry], offset: int, refusals: Refusals
) -> dict[str, Any]:
    """mergekit's parameters by its names; a tuple of those that each model has its own of."""
    scopes = (part.settings, document.settings)

    def own(parameter: Parameter, entry: Entry) -> Any:
        of = str(entry.model)
        value = resolve_setting(parameter, (entry.settings, *scopes), document.where, of)
        if entry.span and entry.span[0] != offset:
            for text in texts_with_digits(value):
                refusals.add(f"filter {text!r} of {parameter.name} of {of}", RENUMBERED)
        return value

    return {
        each.name: tuple(own(each, entry) for entry in merged)
        if each.per_model
        else resolve_setting(each, scopes, document.where)
        for each in METHODS[document.method].parameters
    }


def _parameters(
    name: str, values: Mapping[str, Any], models: int, refusals: Refusals
) -> dict[str, Any]:
    """The operator's keyword arguments."""
    if name == "nuslerp":
        return _nuslerp(values, refusals)
    parameters = _rename(METHODS[name], values)
    if name == "multislerp":
        if values["eps"] != MULTISLERP_EPSILON:
            refusals.add("eps", "leave it out: norms need no help here")
        if models == 1:  # which mergekit hands through, whatever its weight
            parameters |= {"weights": (1.0,), "normalize": True}
    return parameters


def _rename(method: Method, values: Mapping[str, Any]) -> dict[str, Any]:
    """By our names. Where all models have the same value, it is one value, except for weights."""
    parameters = {}
    for parameter in method.parameters:
        value = values[parameter.name]
        alike = parameter.per_model and all(each == value[0] for each in value)
        if parameter.ours:
            parameters[parameter.ours] = (
                value[0] if alike and parameter.ours != "weights" else value
            )
    return parameters


def _nuslerp(values: Mapping[str, Any], refusals: Refusals) -> dict[str, Any]:
    first, second = values["weight"]
    t = combine(first, second, share_of_second)
    along = combine(values["nuslerp_flatten"], values["nuslerp_row_wise"], pointwise(_choose_along))
    if t is None:
        refusals.add(
            "weight of nuslerp",
            "give both models the same filters, and gradients whose sum is the same at every depth",
        )
    if along is None:
        refusals.add(
            "nuslerp_flatten with nuslerp_row_wise",
            "give both the same filters, and gradients of the same length",
        )
    return {"t": t, "along": along}


def _choose_along(flatten: bool, row_wise: bool) -> str:
    """mergekit's row_wise transposes before it turns rows, so columns are what turns."""
    return "tensor" if flatten else "column" if row_wise else "row"
