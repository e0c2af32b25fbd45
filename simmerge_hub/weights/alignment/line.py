"""Whether models on the line between two can be run: first + share · (second − first)."""

from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.weights.shapes import Source, full_model, matrix_shape, shapes
from simmerge_hub.weights.tokens.embeddings import vocabulary_tensors
from simmerge_hub.weights.tokens.tokenizers import TOKENIZER, ids_with_rows, read_tokens


def why_apart(first: Source, second: Source) -> str:
    """Why there is no line between two models, in words; "" if there is. Headers and tokenizers.

    The second may have added tokens: their rows, which the first lacks, are its own all along.

    Raises:
        CheckpointError: a tokenizer.json that cannot be read.
    """
    one, other = shapes(*first), shapes(*second)
    differing = [n for n in sorted({*one, *other}) if one.get(n) != other.get(n)]
    if not differing:
        return ""
    start, end = full_model(*first), full_model(*second)
    rows, tables = vocabulary_tensors(one, start.config)
    more, others = vocabulary_tensors(other, end.config)
    grown = {name for name in tables & others if matrix_shape(one[name])[0] == rows}
    stuck = [name for name in differing if name not in grown]
    if stuck or not rows or not more or rows > more:
        name = (stuck or differing)[0]
        return f"{name} is not of one shape in {first[0].name} and {second[0].name}"
    if not _only_adds(start, rows, end, more):
        return f"nothing says that {second[0].name} only added tokens to those of {first[0].name}"
    return ""


def _only_adds(start: Checkpoint, rows: int, end: Checkpoint, more: int) -> bool:
    """Whether every token of the first has the same row in the second."""
    if any(TOKENIZER not in model.files for model in (start, end)):
        return False
    known, longer = read_tokens(start, rows), read_tokens(end, more)
    return ids_with_rows(known, rows).items() <= longer.ids.items()
