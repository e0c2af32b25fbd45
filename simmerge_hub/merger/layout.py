"""What a merge will write and where it comes from, known from headers before any weight is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from simmerge_hub import operators
from simmerge_hub.errors import AlignmentError, RecipeError
from simmerge_hub.hub.files.headers import Headers
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.merger.carried import Carried, choose_files
from simmerge_hub.merger.compute import check_operator
from simmerge_hub.recipe import Recipe, Step, pin
from simmerge_hub.weights.alignment.align import Alignment, align
from simmerge_hub.weights.alignment.buffers import buffer_notes, running_notes
from simmerge_hub.weights.alignment.matching import TensorMatch
from simmerge_hub.weights.layers import layer_of, main_stack
from simmerge_hub.weights.loaded.conform import conform
from simmerge_hub.weights.loaded.names import is_made_anew
from simmerge_hub.weights.shapes import OUTPUT_CODES, common_dtype, shapes
from simmerge_hub.weights.tokens.speech import choose_speaker, default_template, is_template
from simmerge_hub.weights.tokens.tokenizers import pipeline_notes
from simmerge_hub.weights.tokens.vocabulary import Vocabulary, match_vocabularies

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A merge in headers: the pinned recipe, its inputs, and every tensor of the output.

    `buffers` are integer and truth-valued tensors, copied from the reference as they are stored.
    `chosen` is the input whose tokenizer the output has ("": the reference), `said` why.
    """

    recipe: Recipe
    checkpoints: Mapping[str, Checkpoint]
    alignment: Alignment
    buffers: Headers
    vocabulary: Vocabulary | None
    chosen: str = ""
    said: tuple[str, ...] = ()

    @property
    def tensors(self) -> Mapping[str, TensorMatch]:
        """The tensors to merge or copy."""
        return self.alignment.tensors

    @property
    def base(self) -> Checkpoint | None:
        """What deltas are taken from."""
        return self.checkpoints[self.recipe.base.name] if self.recipe.base else None

    @property
    def reference(self) -> Checkpoint:
        """Whose config and files the output has."""
        return self.checkpoints[self.recipe.reference]

    @property
    def template(self) -> str:
        """The chat template that the recipe names, of a model or as it stands there.

        Raises:
            RecipeError: the model has none.
        """
        named = self.recipe.chat_template
        if is_template(named):
            return named
        whose = self.recipe.base.name if named == "base" and self.recipe.base else named
        text = default_template(self.checkpoints[whose or self.recipe.reference])
        if not text:
            raise RecipeError(
                f"{whose} has no chat template",
                hint="name another model under `chat_template:`, or leave it out",
            )
        return text

    @property
    def speaker(self) -> Checkpoint:
        """Whose tokenizer files, and so whose ids of tokens, the output has."""
        name = self.vocabulary.source if self.vocabulary else self.chosen
        return self.checkpoints[name or self.recipe.reference]

    @property
    def carried(self) -> Carried:
        """The files beside the weights."""
        words = self.vocabulary
        return choose_files(
            self.reference,
            self.speaker,
            custom_code=self.recipe.custom_code,
            rewritten=frozenset(words.files if words else ()),
            models=[self.checkpoints[model.name] for model in self.recipe.models],
        )

    @property
    def entries(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Output tensor -> safetensors dtype and shape, in the order they are written."""
        code = OUTPUT_CODES[self.recipe.dtype]
        return {n: (code, m.shape) for n, m in self.tensors.items()} | {
            n: (h.dtype, h.shape) for n, h in self.buffers.items()
        }

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided by rule, in sentences."""
        full = [model for model in self.checkpoints.values() if model.kind == "full"]
        words = self.vocabulary.notes if self.vocabulary else pipeline_notes(full, self.speaker)
        files = self.carried.notes
        return (*self.alignment.notes, *self.said, *words, *files, *self._narrowing_notes())

    def _narrowing_notes(self) -> list[str]:
        """Tensors the reference stores in float32, where the output is narrower."""
        held = self.reference.tensors
        wide = [n for n in self.tensors if n in held and held[n].dtype in ("F32", "F64")]
        if self.recipe.dtype == "float32" or not wide or len(wide) == len(held):
            return []
        return [
            f"{len(wide)} tensors that {self.reference.name} stores in float32 are written in "
            f"{self.recipe.dtype}: {wide[0]}, …"
        ]

    def steps(self, name: str) -> tuple[Step, ...]:
        """The steps that make a tensor; () if it is copied."""
        match = self.tensors[name]
        return () if match.copied else self.recipe.programs[match.slice]

    def readers(self, name: str) -> tuple[str, ...]:
        """The sources whose tensor is read: those that its steps use, the base if they need it.

        Of a vocabulary tensor all that have a part in it, and those that fill the rows of tokens
        which these lack.
        """
        match = self.tensors[name]
        if self.vocabulary and name in self.vocabulary.tensors:
            return (*match.origins, *self._donors(self.vocabulary.origins, match))
        steps = self.steps(name)
        if not steps:
            return (match.copied,)
        used = {model for step in steps for model in step.models}
        if self.recipe.base and any(_needs_base(step) for step in steps):
            used.add(self.recipe.base.name)
        return tuple(source for source in match.origins if source in used)

    def _donors(self, rows: Mapping[str, Tensor], match: TensorMatch) -> list[str]:
        """Models of other slices with a row that is filled; the base's own comes before theirs."""
        lacked: Tensor = sum(rows[source] < 0 for source in match.origins) > 0  # type: ignore
        if self.recipe.base and self.recipe.base.name in match.origins:
            lacked = lacked & (rows[self.recipe.base.name] < 0)
        return [donor for donor in match.donors if bool((lacked & (rows[donor] >= 0)).any())]

    def stored_name(self, name: str, source: str) -> str:
        """What one of its readers calls a tensor."""
        match = self.tensors[name]
        return match.origins.get(source) or match.donors[source]

    def tensors_to_read(self, names: Iterable[str]) -> dict[str, list[str]]:
        """Source -> its tensors that are read for these of the output, in order."""
        tensors: dict[str, list[str]] = {source: [] for source in self.checkpoints}
        for name in names:
            for source in self.readers(name):
                tensors[source].append(self.stored_name(name, source))
        return tensors

    @property
    def measures_model(self) -> bool:
        """Whether a step looks at all tensors before the first is merged."""
        return any(
            step_measures_model(step) for program in self.recipe.programs for step in program
        )


def step_measures_model(step: Step) -> bool:
    """Whether a step looks at all tensors before the first is merged."""
    return operators.measures_model(operators.find(step.operator), step.parameters)


def lay_out(recipe: Recipe, checkpoints: Mapping[str, Checkpoint], *, pins: bool = True) -> Layout:
    """Match everything a recipe needs.

    Args:
        recipe: checked by `check_recipe`.
        checkpoints: its sources, resolved, by name.
        pins: whether the layout's recipe is pinned, for which folders are hashed.

    Returns:
        The layout; `alignment.rejected` says what does not fit.

    Raises:
        AlignmentError, RecipeError: the whole cannot be matched at all.
    """
    base = checkpoints[recipe.base.name] if recipe.base else None
    models = [checkpoints[m.name] for m in recipe.models]
    if base is not None and base.kind == "adapter":
        raise RecipeError(
            f"{base.name} is an adapter, and the recipe's base",
            hint="give the model it was trained on as `base:`, and the adapter among `models:`",
        )
    for model in models:
        if model.kind == "adapter" and base is None:
            raise RecipeError(
                f"{model.name} is an adapter, and the recipe has no base",
                hint="add a `base:` to the recipe: the model it was trained on",
            )
    alike = conform(models, base)
    base, models = alike.base, list(alike.models)
    names = [source.name for source in recipe.sources]
    checkpoints = dict(zip(names, [*([base] if base else []), *models], strict=True))
    chosen, said = _choose_speaker(recipe, checkpoints)
    words = match_vocabularies(
        checkpoints,
        recipe.base.name if recipe.base else None,
        "union" if recipe.tokenizer == "union" else chosen,
        source=chosen,
    )
    alignment = align(
        models,
        base,
        names=names,
        spans=_spans(recipe),
        unmatched=recipe.unmatched,
        vocabulary=words,
    )
    dtype = recipe.dtype or common_dtype(base or models[0])
    layout = Layout(
        recipe=pin(recipe, checkpoints, dtype) if pins else replace(recipe, dtype=dtype),
        checkpoints=checkpoints,
        alignment=replace(alignment, notes=(*alike.notes, *alignment.notes)),
        buffers=_choose_buffers(checkpoints[recipe.reference], sliced=bool(recipe.slices)),
        vocabulary=words,
        chosen=chosen,
        said=(*said, *_buffer_notes(checkpoints, recipe.reference, alignment)),
    )
    _try_parameters(layout)
    return layout


def _choose_buffers(reference: Checkpoint, *, sliced: bool) -> Headers:
    """The buffers that are copied; slices would move those of layers, and move none.

    Raises:
        AlignmentError: one of a layer that is moved says something of its own.
    """
    if not sliced or not reference.buffers:
        return reference.buffers
    stack, _ = main_stack(shapes(reference), reference.config)
    places = {name: layer_of(name) for name in reference.buffers}
    moved = [name for name, place in places.items() if place and place.stack == stack]
    for name in moved:
        if not is_made_anew(name):
            raise AlignmentError(
                f"{reference.name} stores whole numbers in its layers ({name}), and slices move "
                "weights alone",
                hint="leave out `slices:`",
            )
    return {name: header for name, header in reference.buffers.items() if name not in moved}


def _buffer_notes(
    checkpoints: Mapping[str, Checkpoint], reference: str, alignment: Alignment
) -> list[str]:
    """What becomes of whole numbers and running statistics that are not the same in all models."""
    others = [c for n, c in checkpoints.items() if n != reference and c.kind == "full"]
    merged = [name for name, match in alignment.tensors.items() if not match.copied]
    return [*buffer_notes(checkpoints[reference], others), *running_notes(merged)]


def _try_parameters(layout: Layout) -> None:
    """OperatorError if an operator refuses what a schedule gives it for some tensor."""
    based = layout.base is not None
    for name, match in layout.tensors.items():
        for step in layout.steps(name):
            check_operator(step, name, match.depth, based)


def _spans(recipe: Recipe) -> list[Mapping[str, tuple[int, int]]]:
    """The layers every slice takes; a base that its steps need or merge has a part in it."""
    spans, base = [], recipe.base.name if recipe.base else None
    for part, steps in zip(recipe.slices, recipe.programs, strict=False):
        span = dict(part.layers)
        read = any(_needs_base(step) or base in step.models for step in steps)
        if base and base not in span and read:
            span = {base: next(iter(span.values())), **span}
        spans.append(span)
    return spans


def _needs_base(step: Step) -> bool:
    operator = operators.find(step.operator)
    return operators.space_of(operator, step.parameters) != "weight"


def _choose_speaker(recipe: Recipe, checkpoints: Mapping[str, Checkpoint]) -> tuple[str, list[str]]:
    """The input whose tokenizer the output has, and why."""
    named, home = recipe.tokenizer, recipe.reference
    models = {model.name: checkpoints[model.name] for model in recipe.models}
    chosen, why = choose_speaker(models, home, checkpoints)
    if named in ("auto", "union"):
        return chosen, why
    if named == "base":
        said = f"{chosen} and what is merged with it have another tokenizer, chat template or end "
        return home, [f"{said}token than {home}: `tokenizer: {chosen}` takes it"] * (chosen != home)
    if checkpoints[named].tokenizer_files:
        return named, []
    if checkpoints[named].kind == "adapter" and recipe.base:
        return recipe.base.name, [f"{named} has no tokenizer: the output has that of its base"]
    raise RecipeError(
        f"{named} has no tokenizer files", hint="name another model under `tokenizer:`, or base"
    )
