"""Heads that are tied here and stored there: what stands for what, from names and configs."""

from dataclasses import replace

import pytest

from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.weights.alignment.heads import Heads
from tests import nano

EMBEDDING, HEAD, PROJECTION = "embed.weight", "head.weight", "model.layers.0.proj.weight"
STORED = {EMBEDDING: (20, 16), HEAD: (20, 16), PROJECTION: (20, 16), "norm.weight": (16,)}
TIED = {name: shape for name, shape in STORED.items() if name != HEAD}
Stored = dict[str, tuple[int, ...]]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return resolve(str(nano.model(tmp_path_factory.mktemp("heads") / "model")))


def heads(checkpoint: Checkpoint, **models: tuple[Stored, bool | None]) -> Heads:
    """Models by name with the shapes they store and what their config says of the tie."""
    said = {
        name: replace(checkpoint, config={} if tie is None else {"tie_word_embeddings": tie})
        for name, (_, tie) in models.items()
    }
    return Heads(
        sources=said, shapes={name: own for name, (own, _) in models.items()}, reference="a"
    )


@pytest.mark.parametrize(("tie", "stand_in"), [(None, EMBEDDING), (True, EMBEDDING), (False, None)])
def test_the_embedding_stands_in_for_a_head_it_is_tied_to(
    checkpoint: Checkpoint, tie: bool | None, stand_in: str | None
) -> None:
    two = heads(checkpoint, a=(STORED, False), b=(TIED, tie))
    assert two.stand_in("a", HEAD) == HEAD
    assert two.stand_in("b", HEAD) == stand_in


def test_nothing_stands_in_inside_layers_or_where_it_is_not_clear(checkpoint: Checkpoint) -> None:
    lacking = {n: s for n, s in TIED.items() if n != PROJECTION}
    assert heads(checkpoint, a=(STORED, None), b=(lacking, None)).stand_in("b", PROJECTION) is None
    lacking = {n: s for n, s in TIED.items() if n != "norm.weight"}
    assert (
        heads(checkpoint, a=(STORED, None), b=(lacking, None)).stand_in("b", "norm.weight") is None
    )
    assert heads(checkpoint, a=(TIED, None), b=(TIED, None)).stand_in("b", HEAD) is None
    three = {**STORED, "positions.weight": (20, 16)}
    unclear = {n: s for n, s in three.items() if n != HEAD}
    assert heads(checkpoint, a=(three, None), b=(unclear, None)).stand_in("b", HEAD) is None


@pytest.mark.parametrize(
    ("ours", "theirs", "new"),
    [(True, False, True), (None, None, True), (False, False, False), (True, True, False)],
)
def test_a_new_head(
    checkpoint: Checkpoint, ours: bool | None, theirs: bool | None, new: bool
) -> None:
    two = heads(checkpoint, a=(TIED, ours), b=(STORED, theirs))
    assert two.is_new("b", HEAD) == new
    assert not two.is_new("b", EMBEDDING)


def test_a_new_vector_or_a_matrix_of_another_shape_is_no_head(checkpoint: Checkpoint) -> None:
    more = {**STORED, "scale": (16,), "router.weight": (4, 16)}
    two = heads(checkpoint, a=(TIED, None), b=(more, None))
    assert not two.is_new("b", "scale")
    assert not two.is_new("b", "router.weight")


@pytest.mark.parametrize(
    ("ours", "theirs", "parts"),
    [(True, False, True), (True, True, False), (True, None, False), (None, False, False)],
)
def test_a_head_of_its_own_parts_a_tie(
    checkpoint: Checkpoint, ours: bool | None, theirs: bool | None, parts: bool
) -> None:
    assert heads(checkpoint, a=(STORED, ours), b=(STORED, theirs)).parts_a_tie("b") == parts
    assert not heads(checkpoint, a=(TIED, ours), b=(STORED, theirs)).parts_a_tie("b")


def test_a_stored_head_that_is_tied_anyway_is_not_used(checkpoint: Checkpoint) -> None:
    for tie, unused in ((True, True), (False, False), (None, False)):
        one = heads(checkpoint, a=(STORED, tie))
        assert one.is_unused("a", HEAD) == unused
        assert not one.is_unused("a", PROJECTION)
        assert not one.is_unused("a", "norm.weight")


def test_models_that_must_agree(checkpoint: Checkpoint) -> None:
    four = heads(checkpoint, a=(STORED, False), b=(TIED, True), c=(STORED, None), d=(STORED, False))
    assert list(four.conflicts("abcd")) == [("b", "says tie_word_embeddings True, in a False")]
    assert list(four.conflicts("cb")) == []


def test_what_a_part_s_config_says_counts(checkpoint: Checkpoint) -> None:
    nested = replace(checkpoint, config={"text_config": {"tie_word_embeddings": False}})
    two = Heads(sources={"a": nested, "b": nested}, shapes={"a": STORED, "b": TIED}, reference="a")
    assert two.stand_in("b", HEAD) is None


def test_layers_of_one_shape_that_have_no_row_for_each_token_are_no_heads(
    checkpoint: Checkpoint,
) -> None:
    """BERT's pooler and the dense layer of its head: neither is the other where one is lacking."""
    dense, pooler = {"cls.dense.weight": (16, 16)}, {"pooler.weight": (16, 16)}
    two = heads(checkpoint, a=(TIED | dense, None), b=(TIED | dense | pooler, True))
    sizes = {"vocab_size": 20, "type_vocab_size": 16}  # of segments, as short as other heads are
    told = {name: replace(c, config={**c.config, **sizes}) for name, c in two.sources.items()}
    two = replace(two, sources=told)
    assert two.stand_in("a", "pooler.weight") is None
    assert not two.is_new("b", "pooler.weight") and not two.is_unused("b", "pooler.weight")
    swapped = replace(two, reference="b")
    assert swapped.stand_in("a", "pooler.weight") is None
    assert two.stand_in("b", HEAD) is None
    assert replace(two, shapes={"a": TIED, "b": STORED}).is_new("b", HEAD) is False  # b ties it
    assert replace(two, shapes={"a": TIED, "b": STORED}).is_unused("b", HEAD)


@pytest.mark.parametrize("order", [("vision_config", "text_config"), ("encoder", "decoder")])
def test_what_sees_says_nothing_of_a_head_for_tokens(
    order: tuple[str, str], checkpoint: Checkpoint
) -> None:
    """Configs of old state a tie for every part: a model's own head was left out for a tower's."""
    sees, tells = order
    parts = {sees: {"tie_word_embeddings": True}}
    parts |= {tells: {"vocab_size": 20, "tie_word_embeddings": False}}
    two = heads(checkpoint, a=(TIED, True), b=(STORED, None))
    two = replace(two, sources={**two.sources, "b": replace(checkpoint, config=parts)})
    assert not two.is_unused("b", HEAD)
    assert two.is_new("b", HEAD)
