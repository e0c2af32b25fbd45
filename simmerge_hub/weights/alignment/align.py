"""Which tensors of several checkpoints match, and what does not and why. Headers only.

`matching` has the rules. Nothing is merged by halves: what does not match is refused, unless the
recipe allows it by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from simmerge_hub.errors import AlignmentError
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.weights import adapters
from simmerge_hub.weights.alignment.heads import Heads, Shape
from simmerge_hub.weights.alignment.matching import Matcher, Rejection, Span, TensorMatch
from simmerge_hub.weights.alignment.modules import choose_modules
from simmerge_hub.weights.loaded.conform import Conformed, conform
from simmerge_hub.weights.loaded.described import refuse_undescribed
from simmerge_hub.weights.loaded.model import part_config
from simmerge_hub.weights.shapes import shapes
from simmerge_hub.weights.tokens.embeddings import vocabulary_tensors
from simmerge_hub.weights.tokens.speech import choose_speaker
from simmerge_hub.weights.tokens.vocabulary import Vocabulary, match_vocabularies


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """The tensors of the output, in the file order of the reference; what does not match.

    `notes` are sentences about what was decided by rule; `untied` says that the output has a head
    of its own where the reference has none. `mostly` says whether most of every model's weights
    match. `vocabulary` is how rows correspond, where vocabularies differ.
    """

    tensors: Mapping[str, TensorMatch]
    rejected: tuple[Rejection, ...]
    notes: tuple[str, ...] = ()
    untied: bool = False
    mostly: bool = True
    vocabulary: Vocabulary | None = None

    @property
    def shapes(self) -> dict[str, Shape]:
        """Tensor name -> shape."""
        return {name: match.shape for name, match in self.tensors.items()}


def align(
    models: Sequence[Checkpoint],
    base: Checkpoint | None = None,
    *,
    names: Sequence[str] = (),
    spans: Sequence[Span] = (),
    unmatched: str = "refuse",
    vocabulary: Vocabulary | None = None,
) -> Alignment:
    """Compare every model (and the base) with the reference: the base, else the first model.

    Args:
        models: what is merged.
        base: what they were fine-tuned from.
        names: what to call the base, if any, and the models; by default by their own names.
        spans: the layers each slice of the output takes of each model; () for the whole.
        unmatched: "refuse", "drop" or "keep"; see above.
        vocabulary: how vocabulary rows correspond, where they differ.

    Raises:
        AlignmentError: with "drop" or "keep", if most of a model's weights match nothing.
    """
    reference = base or models[0]
    for model in models:
        if model.kind == "adapter":
            adapters.check(model, shapes(reference))
    everything = [*([base] if base else []), *models]
    sources = dict(zip(names or [m.name for m in everything], everything, strict=True))
    every_shape = {name: shapes(model, base) for name, model in sources.items()}
    first = next(iter(sources))
    matcher = Matcher(
        sources=sources,
        shapes=every_shape,
        reference=first,
        heads=Heads(sources=sources, shapes=every_shape, reference=first),
        unmatched=unmatched,
        resized=vocabulary.tensors if vocabulary else frozenset(),
        rows=vocabulary.size if vocabulary else 0,
    )
    matcher.compare_configs()
    tensors = {n: m for n, p in matcher.place(spans).items() if (m := matcher.match(n, p))}
    if spans:
        matcher.refuse_left_out(tensors, spans)
    else:
        tensors |= matcher.extras()
    strangers = [] if spans else matcher.strangers(tensors)
    if strangers and unmatched != "refuse":
        raise _stranger_error(*strangers[0])
    return Alignment(
        tensors=tensors,
        rejected=tuple(matcher.rejected),
        notes=tuple(matcher.notes),
        untied=matcher.untied,
        mostly=not strangers,
        vocabulary=vocabulary,
    )


def _stranger_error(model: str, share: float) -> AlignmentError:
    return AlignmentError(
        f"{share:.0%} of the weights of {model} have a counterpart in all other models: "
        "`unmatched:` is for a few tensors that not all have",
        hint=f"merge fine-tunes of one model, as transformers stores them, or leave out {model}",
    )


def align_strict(
    models: Sequence[Checkpoint], base: Checkpoint | None = None, *, headers_only: bool = False
) -> Alignment:
    """`align`, or AlignmentError where a merge of these would be refused from headers alone.

    Nothing is merged by halves, the config of the reference has to be that of its tensors, and
    what sentence-transformers applies after the models has to be the same. Vocabularies may differ
    as far as their rows can be matched by token.

    Args:
        models: what is merged.
        base: what they were fine-tuned from.
        headers_only: take vocabularies of one size for the same, whatever their tokenizers say: of
            the many candidates of a catalogue these are not fetched.
    """
    alike = conform(models, base)
    words = None if headers_only and _are_as_tall(alike) else match_rows(alike)
    alignment = align(alike.models, alike.base, vocabulary=words)
    refuse_rejections(alignment)
    main = alike.base or alike.models[0]
    if main.kind != "full":
        return alignment
    config = part_config(main.config) if alignment.untied else main.config
    written = alignment.shapes | {name: header.shape for name, header in main.buffers.items()}
    if words := alignment.vocabulary:  # their number in the config is set when it is written
        written |= {name: size for name, size in shapes(main).items() if name in words.tensors}
    passed = refuse_undescribed(main, config, written, untied=alignment.untied)
    choose_modules(alike.models)
    return replace(alignment, notes=(*alignment.notes, *passed))


def _are_as_tall(alike: Conformed) -> bool:
    """Whether all have as many vocabulary rows; an adapter has those of its base."""
    full = [m for m in (*alike.models, alike.base) if m is not None and m.kind == "full"]
    return len({vocabulary_tensors(shapes(m), m.config)[0] for m in full}) < 2


def match_rows(alike: Conformed) -> Vocabulary | None:
    """How vocabulary rows correspond, by the tokenizer that a merge has unless told otherwise.

    Raises:
        AlignmentError, CheckpointError: as `match_vocabularies`.
    """
    base, models = alike.base, {model.name: model for model in alike.models}
    checkpoints = {**({base.name: base} if base else {}), **models}
    chosen, _ = choose_speaker(models, next(iter(checkpoints)), checkpoints)
    return match_vocabularies(checkpoints, base.name if base else None, chosen, source=chosen)


def refuse_rejections(alignment: Alignment) -> None:
    """AlignmentError that names the first tensor that does not fit, if there is one."""
    if alignment.rejected:
        first = alignment.rejected[0]
        more = len(alignment.rejected) - 1
        others = f" (and {more} more)" if more else ""
        raise AlignmentError(
            f"{first.model} does not fit: {first.name} {first.reason}{others}",
            hint="merge fine-tunes of one base model"
            + "; `unmatched: drop` or `keep` in the recipe allows tensors that not all have"
            * (alignment.mostly and all(each.missing for each in alignment.rejected)),
        )
