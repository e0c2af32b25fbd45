"""What the rows of adapted embeddings and heads mean: adapters may have tokens of their own.

Without the base nobody can move rows. Where tokenizer.json says that a row is one token in one
adapter and another in the next, their mean is of neither.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

from simmerge_hub.errors import AlignmentError
from simmerge_hub.hub.digest import file_sha256
from simmerge_hub.names import list_first
from simmerge_hub.weights.layers import layer_of
from simmerge_hub.weights.lora.sources import Source
from simmerge_hub.weights.tokens.tokenizers import TOKENIZER, Tokens, read_tokens


def refuse_other_rows(sources: Sequence[Source]) -> None:
    """Refuse adapters of an embedding or a head whose rows are other tokens in each.

    Raises:
        AlignmentError: two tokenizers have another token at a row of what either adapter changes.
        CheckpointError: a tokenizer.json that cannot be read.
    """
    for (one, own), (other, theirs) in combinations(_read_apart(sources), 2):
        rows = max(_token_rows(one, own), _token_rows(other, theirs))
        taken = {number: token for token, number in own.ids.items() if number < rows}
        for token, number in theirs.ids.items():
            if taken.get(number, token) != token:
                raise AlignmentError(
                    f"row {number} of the vocabulary is {taken[number][:40]!r} in {one.name}, "
                    f"{token[:40]!r} in {other.name}, and adapters change its rows",
                    hint="merge them into their base with `tokenizer: union`, without `output:`: "
                    "that gives a full model, and rows are matched by token",
                )


def left_out_tokens(sources: Sequence[Source], chosen: str | None) -> list[str]:
    """Sentences about tokens that the adapter lacks whose tokenizer is copied.

    Args:
        sources: the adapters.
        chosen: the name of that one; None if no adapter has a tokenizer.
    """
    read = _read_apart(sources)
    if not read or read[0][0].name != chosen:
        return []
    (_, kept), *others = read
    lost = [(one.name, [t for t in tokens.ids if t not in kept.ids]) for one, tokens in others]
    return [
        f"tokens of {name} not in {chosen}, whose tokenizer is copied, left out: {len(tokens)} "
        f"({list_first(list(map(repr, tokens)))})"
        for name, tokens in lost
        if tokens
    ]


def _read_apart(sources: Iterable[Source]) -> list[tuple[Source, Tokens]]:
    """The adapters that have a tokenizer.json, with their tokens; [] where it is one file."""
    known = [one for one in sources if TOKENIZER in one.checkpoint.files]
    if len({file_sha256(one.checkpoint, TOKENIZER) for one in known}) < 2:
        return []
    return [(one, read_tokens(one.checkpoint, None)) for one in known]


def _token_rows(one: Source, tokens: Tokens) -> int:
    """How many rows the tallest matrix has that an adapter changes and that has a row for every
    token but added ones, as an embedding or a head for tokens has; 0 if there is none."""
    least = len(tokens.ids) - len(tokens.added)
    return max((rows for rows in _heights(one) if rows >= least), default=0)


def _heights(one: Source) -> Iterator[int]:
    for name, lora in one.loras.items():
        if layer_of(f"{name}.weight") is None:
            yield lora.a.shape[1] if lora.embedding else lora.b.shape[0]
    for name, stored in one.whole.items():
        shape = one.checkpoint.tensors[stored].shape
        if layer_of(name) is None and len(shape) == 2:
            yield shape[0]
