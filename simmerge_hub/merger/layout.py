"""What a merge will write and where it comes from, known from headers before any weight is read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from simmerge_hub import operators
from simmerge_hub.errors import RecipeError
from simmerge_hub.hub.files.headers import TensorHeader
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.merger.compute import check_operator
from simmerge_hub.recipe import Recipe, Step, pin
from simmerge_hub.weights.alignment.align import Alignment, TensorMatch, align
from simmerge_hub.weights.shards import OUTPUT_CODES
from simmerge_hub.weights.stream import stored_dtype
from simmerge_hub.weights.tokens.vocabulary import Vocabulary, match_vocabularies


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A merge in headers: the pinned recipe, its inputs, and every tensor of the output.

    `buffers` are integer and truth-valued tensors, copied from the reference as they are stored.
    """

    recipe: Recipe
    checkpoints: Mapping[str, Checkpoint]
    alignment: Alignment
    buffers: Mapping[str, TensorHeader]
    vocabulary: Vocabulary | None

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
    def entries(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Output tensor -> safetensors dtype and shape, in the order they are written."""
        code = OUTPUT_CODES[self.recipe.dtype]
        return {n: (code, m.shape) for n, m in self.tensors.items()} | {
            n: (h.dtype, h.shape) for n, h in self.buffers.items()
        }

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided by rule, in sentences."""
        words = self.vocabulary.notes if self.vocabulary else ()
        return (*self.alignment.notes, *words, *self._narrowing_notes())

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
        """The sources whose tensor is read: those that its steps use, the base if they need it."""
        match = self.tensors[name]
        steps = self.steps(name)
        if not steps:
            return (match.copied,)
        used = {model for step in steps for model in step.models}
        if self.recipe.base and any(_needs_base(step) for step in steps):
            used.add(self.recipe.base.name)
        used |= self._donors(name, match)
        return tuple(source for source in match.origins if source in used)

    def tensors_to_read(self, names: Iterable[str]) -> dict[str, list[str]]:
        """Source -> its tensors that are read for these of the output, in order."""
        tensors: dict[str, list[str]] = {source: [] for source in self.checkpoints}
        for name in names:
            for source in self.readers(name):
                tensors[source].append(self.tensors[name].origins[source])
        return tensors

    @property
    def measures_model(self) -> bool:
        """Whether a step looks at all tensors before the first is merged."""
        return any(
            operators.measures_model(operators.find(step.operator), step.parameters)
            for program in self.recipe.programs
            for step in program
        )

    def _donors(self, name: str, match: TensorMatch) -> set[str]:
        """Sources that fill the rows of tokens which others lack."""
        if self.vocabulary is None or name not in self.vocabulary.tensors:
            return set()
        return set(match.origins)


def lay_out(recipe: Recipe, checkpoints: Mapping[str, Checkpoint], *, pins: bool = True) -> Layout:
    """Match everything a recipe needs.

    Args:
        recipe: checked by `recipe.check`.
        checkpoints: its sources, resolved, by name.
        pins: whether the layout's recipe is pinned, for which folders are hashed.

    Returns:
        The layout; `alignment.rejected` says what does not fit.

    Raises:
        AlignmentError, RecipeError: the whole cannot be matched at all.
    """
    base = checkpoints[recipe.base.name] if recipe.base else None
    models = [checkpoints[m.name] for m in recipe.models]
    for model in models:
        if model.kind == "adapter" and base is None:
            raise RecipeError(
                f"{model.name} is an adapter, and the recipe has no base",
                hint="add a `base:` to the recipe: the model it was trained on",
            )
    _check_tokenizer(recipe, checkpoints)
    words = match_vocabularies(
        checkpoints, recipe.base.name if recipe.base else None, recipe.tokenizer
    )
    alignment = align(
        models,
        base,
        names=[s.name for s in recipe.sources],
        spans=_spans(recipe),
        unmatched=recipe.unmatched,
        vocabulary=words,
    )
    dtype = recipe.dtype or common_dtype(base or models[0])
    layout = Layout(
        recipe=pin(recipe, checkpoints, dtype) if pins else replace(recipe, dtype=dtype),
        checkpoints=checkpoints,
        alignment=alignment,
        buffers=checkpoints[recipe.reference].buffers,
        vocabulary=words,
    )
    _try_parameters(layout)
    return layout


def _try_parameters(layout: Layout) -> None:
    """OperatorError if an operator refuses what a schedule gives it for some tensor."""
    based = layout.base is not None
    for name, match in layout.tensors.items():
        for step in layout.steps(name):
            check_operator(step, name, match.depth, based)


def common_dtype(checkpoint: Checkpoint) -> str:
    """The dtype most of a checkpoint's entries are stored in, of those that can be written."""
    entries = dict.fromkeys(OUTPUT_CODES, 0)
    for header in checkpoint.tensors.values():
        entries[stored_dtype(header)] += header.entries
    return max(entries, key=lambda name: entries[name])


def _spans(recipe: Recipe) -> list[Mapping[str, tuple[int, int]]]:
    """The layers every slice takes; a base that its steps need has a part in it."""
    spans = []
    for part, steps in zip(recipe.slices, recipe.programs, strict=False):
        span = dict(part.layers)
        if recipe.base and recipe.base.name not in span and any(map(_needs_base, steps)):
            span = {recipe.base.name: next(iter(span.values())), **span}
        spans.append(span)
    return spans


def _needs_base(step: Step) -> bool:
    operator = operators.find(step.operator)
    return operators.space_of(operator, step.parameters) != "weight"


def _check_tokenizer(recipe: Recipe, checkpoints: Mapping[str, Checkpoint]) -> None:
    named = recipe.tokenizer
    if named not in ("base", "union") and not checkpoints[named].tokenizer_files:
        raise RecipeError(
            f"{named} has no tokenizer files", hint="name another model under `tokenizer:`, or base"
        )
