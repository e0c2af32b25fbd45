"""A recipe -> one of mergekit that merges the same, or an error that names what it cannot say."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from simmerge_hub import operators
from simmerge_hub.hub.weight_files import CONFIGS
from simmerge_hub.recipe import schedule
from simmerge_hub.recipe.checks import check_recipe
from simmerge_hub.recipe.mergekit.parameters import METHODS, RESCALE, Method
from simmerge_hub.recipe.mergekit.refusals import Refusals
from simmerge_hub.recipe.mergekit.settings import (
    RENUMBERED,
    map_scalars,
    scalars,
    texts_with_digits,
    to_setting,
)
from simmerge_hub.recipe.recipe import SHARD_SIZE, Recipe, Source, Step
from simmerge_hub.recipe.writing import dump_yaml
from simmerge_hub.weights.tokens.speech import is_template

Own = dict[str, dict[str, Any]]
"""Model -> parameters that it alone has."""
RANDOM_OPERATORS = ("dare_linear", "dare_ties", "della", "della_linear")
"""Operators that draw numbers, which differ between the two programs."""
UNSAYABLE = {
    "output": ("model", "mergekit writes whole models only"),
    "custom_code": (False, "copy the base's .py files by hand"),
    "unmatched": ("refuse", "mergekit decides by its own table of tensors"),
}
"""Fields of a recipe that mergekit has nothing for: what they must be, and why."""


def write(recipe: Recipe) -> str:
    """A recipe of mergekit 0.1.5 that does the same merge, with notes on what it cannot carry.

    Folders are written as absolute paths, pinned commits as `model@commit`. Arithmetic is asked
    for in float32, as here. A folder with an adapter is written as `base+adapter`; an adapter on
    the Hub is not known as one without asking, and is written as a model.

    Args:
        recipe: one step, or slices with one step each and all with the same operator.

    Raises:
        RecipeError: one error that names everything mergekit has no way to say.
        SimmergeError: the recipe is not one that can be run.
    """
    check_recipe(recipe)
    refusals = Refusals("mergekit cannot do what this recipe says")
    _refuse_fields(recipe, refusals)
    _refuse_shapes(recipe, refusals)
    refusals.settle()
    operator = recipe.operators[0]
    base = _base(recipe, operator, refusals)
    data: dict[str, Any] = {"merge_method": operator}
    data |= {"base_model": _reference(recipe, base)} if base else {}
    data |= _body(recipe, refusals)
    data |= _storage(recipe)
    refusals.settle()
    return "".join(f"# {note}\n" for note in _notes(recipe, base)) + dump_yaml(data)


def _refuse_fields(recipe: Recipe, refusals: Refusals) -> None:
    for key, (usual, advice) in UNSAYABLE.items():
        if getattr(recipe, key) != usual:
            refusals.add(f"{key}: {getattr(recipe, key)}", advice)
    for source in recipe.sources:
        if source.folder is None and not source.repo:
            refusals.add(source.name, "say where it is with `folder:`")


def _refuse_shapes(recipe: Recipe, refusals: Refusals) -> None:
    if any(len(program) > 1 for program in recipe.programs):
        refusals.add("several steps", "export them one by one")
    if recipe.slices and len(recipe.operators) > 1:
        refusals.add(
            f"slices with {' and '.join(recipe.operators)}", "use the same operator in all slices"
        )
    if len(recipe.slices) > 1:
        first, *_, last = (len(_sources(recipe, n)) for n in range(len(recipe.slices)))
        if last > first:
            refusals.add(
                "a last slice of more models than the first",
                "mergekit would leave models out of the head and the last norm",
            )
    for step in (step for program in recipe.programs for step in program):
        if step.operator not in METHODS:
            sees = operators.find(step.operator).activations
            lacking = "no merge that runs the models" if sees else "no such method"
            refusals.add(step.operator, f"merge it here: mergekit has {lacking}")
        if len(set(step.models)) < len(step.models):
            refusals.add(f"{step.operator} of a model with itself", "merge different models")


def _base(recipe: Recipe, operator: str, refusals: Refusals) -> str:
    """What base_model must name for the operator to see the same inputs; "" for none."""
    steps = [program[0] for program in recipe.programs]
    policy = METHODS[operator].base
    reference = recipe.base.name if recipe.base else ""
    if policy == "first":
        firsts = {step.models[0] for step in steps}
        if len(firsts) > 1:
            refusals.add("slices with different first models", "begin all with the same model")
        return steps[0].models[0]
    if policy == "ignored":  # a base_model is an input there, unless slices say what inputs are
        inputs = set.intersection(*(set(step.models) for step in steps))
        return reference if recipe.slices or reference in inputs else ""
    origins = {step.parameters.get("origin", "base") for step in steps}
    if policy == "optional" and len(origins) > 1:
        refusals.add("slices with different origins", "use one origin in all slices")
    if "zero" in origins:
        return ""
    if any(reference in step.models for step in steps):
        refusals.add(f"{operator} of the base", "leave the base out of the models")
    return reference


def _body(recipe: Recipe, refusals: Refusals) -> dict[str, Any]:
    """`models:` or `slices:`, with their parameters."""
    programs = [program[0] for program in recipe.programs]
    settings = [_settings(step, refusals) for step in programs]
    if not recipe.slices:
        shared, own = settings[0]
        models = [_entry(recipe, name, own.get(name)) for name in programs[0].models]
        return {"models": models} | ({"parameters": shared} if shared else {})
    offset, slices = 0, []
    for number, (part, (shared, own)) in enumerate(zip(recipe.slices, settings, strict=True)):
        spans = _sources(recipe, number)
        _refuse_texts(programs[number], spans, offset, refusals)
        sources = [_entry(recipe, name, own.get(name), span) for name, span in spans.items()]
        slices.append({"sources": sources} | ({"parameters": shared} if shared else {}))
        offset += part.depth
    return {"slices": slices}


def _sources(recipe: Recipe, number: int) -> dict[str, tuple[int, int]]:
    """The models of a slice that have a part in it, with their layers; the base if it is needed."""
    part, step = recipe.slices[number], recipe.programs[number][0]
    names = list(step.models)
    operator = operators.check(step.operator, next(schedule.extremes(step.parameters)), len(names))
    if operator.needs_base and recipe.base and recipe.base.name not in names:
        names.append(recipe.base.name)
    whole = next(iter(part.layers.values()))
    return {name: part.layers.get(name, whole) for name in names}


def _refuse_texts(
    step: Step, spans: Mapping[str, tuple[int, int]], offset: int, refusals: Refusals
) -> None:
    """mergekit filters a model's own parameters by that model's names: see reading."""
    if all(first == offset for first, _ in spans.values()):
        return
    for parameter in METHODS[step.operator].parameters:
        value = step.parameters.get(parameter.ours or "t") if parameter.per_model else None
        for each in value if isinstance(value, tuple | list) else (value,):
            for text in texts_with_digits(each):
                refusals.add(f"filter {text!r} of {parameter.name}", RENUMBERED)


def _settings(step: Step, refusals: Refusals) -> tuple[dict[str, Any], Own]:
    """A step's parameters by mergekit's names: those for all, and model -> its own."""
    method = METHODS[step.operator]
    given = {**operators.find(step.operator).parameters, **step.parameters}
    if step.operator == "multislerp" and given["weights"] is None:
        given["normalize"] = True  # equal shares are, whatever it says
    shared: dict[str, Any] = {}
    own: Own = {}
    for name, value in _translate(step, method, given, refusals):
        if isinstance(value, tuple | list):
            for model, each in zip(step.models, value, strict=True):
                own.setdefault(model, {})[name] = to_setting(each)
        else:
            shared[name] = to_setting(value)
    return shared, own


def _translate(
    step: Step, method: Method, given: Mapping[str, Any], refusals: Refusals
) -> Iterator[tuple[str, Any]]:
    if step.operator == "nuslerp":
        t, along = given["t"], given["along"]
        yield "weight", (map_scalars(t, lambda share: 1 - share), t)
        yield "nuslerp_flatten", map_scalars(along, lambda word: word == "tensor")
        yield "nuslerp_row_wise", map_scalars(along, lambda word: word == "column")
        return
    _refuse_parameters(step, given, refusals)
    for parameter in method.parameters:
        value = given.get(parameter.ours)
        if parameter.ours == "weights" and value is None:
            value = (1.0,) * len(step.models)
        if parameter.words:
            value = map_scalars(value, lambda word: word == RESCALE[True])
        if parameter.ours:
            yield parameter.name, value


def _refuse_parameters(step: Step, given: Mapping[str, Any], refusals: Refusals) -> None:
    operator = step.operator
    if given.get("trim") == "model":
        refusals.add("trim: model", "mergekit trims each tensor: use trim: tensor")
    if "density" in scalars(given.get("rescale")):
        refusals.add(f"rescale: density of {operator}", "mergekit has none and l1")
    if operator == "karcher" and given["weights"] and len(set(map(str, given["weights"]))) > 1:
        refusals.add("weights of karcher", "mergekit weighs all models alike")
    if operator == "multislerp" and len(step.models) == 1 and given["normalize"] is not True:
        refusals.add("multislerp of one model", "mergekit leaves it as it is: use passthrough")
    if operator == "karcher" and schedule.is_scheduled(given["steps"]):
        refusals.add("steps of karcher by depth or name", "give one number")


def _entry(
    recipe: Recipe, name: str, own: Mapping[str, Any] | None, span: Sequence[int] = ()
) -> dict[str, Any]:
    entry: dict[str, Any] = {"model": _reference(recipe, name)}
    entry |= {"layer_range": list(span)} if span else {}
    return entry | ({"parameters": dict(own)} if own else {})


def _reference(recipe: Recipe, name: str) -> str:
    """How mergekit names a source."""
    source = next(s for s in recipe.sources if s.name == name)
    if recipe.base and source != recipe.base and _is_adapter(source):
        return f"{_place(recipe.base)}+{_place(source)}"
    return _place(source)


def _is_adapter(source: Source) -> bool:
    return source.folder is not None and (source.folder / CONFIGS["adapter"]).is_file()


def _place(source: Source) -> str:
    if source.folder is not None:
        return str(source.folder.absolute())
    return f"{source.repo}@{source.commit}" if source.commit else source.repo


def _storage(recipe: Recipe) -> dict[str, Any]:
    data: dict[str, Any] = {"dtype": "float32"} if recipe.dtype else {}
    data |= {"out_dtype": recipe.dtype} if recipe.dtype not in ("", "float32") else {}
    if recipe.tokenizer in ("union", "base"):
        data["tokenizer_source"] = recipe.tokenizer
    elif recipe.tokenizer != "auto":
        data["tokenizer_source"] = _reference(recipe, recipe.tokenizer)
    if is_template(recipe.chat_template):
        data["chat_template"] = recipe.chat_template
    return data


def _notes(recipe: Recipe, base: str) -> Iterator[str]:
    """What the YAML cannot carry and does not change weights, or not by much."""
    yield "For mergekit 0.1.5."
    if base != recipe.reference and len(recipe.sources) > 1:
        whose = f"{base}'s" if base else "those of any model"
        yield f"config.json and tokenizer: mergekit takes {whose}, not {recipe.reference}'s."
    if recipe.operators[0] in RANDOM_OPERATORS:
        yield f"Random numbers differ: seed {recipe.seed} here, --random-seed in mergekit."
    if recipe.chat_template and not is_template(recipe.chat_template):
        yield f"mergekit does not take the chat template of {recipe.chat_template}: write it out."
    if recipe.shard_size != SHARD_SIZE:
        yield f"Shards of {recipe.shard_size} bytes: --out-shard-size in mergekit."
