"""Adapters with tokens of their own: a row that is another token in each is not averaged."""

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models

from simmerge_hub.errors import AlignmentError
from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.merger import merge
from simmerge_hub.recipe import parse
from simmerge_hub.weights.lora import left_out_tokens, merge_adapters
from tests import nano

ROWS = 20
IN_LAYER = "base_model.model.model.layers.0.self_attn.q_proj.lora"
HEAD = "base_model.model.lm_head.lora"
TOKENS = "base_model.model.model.embed_tokens"
CHANGES = {
    "a head": {f"{HEAD}_A.weight": torch.ones(2, 16), f"{HEAD}_B.weight": torch.ones(ROWS, 2)},
    "an embedding": {
        f"{TOKENS}.lora_embedding_A": torch.ones(2, ROWS),
        f"{TOKENS}.lora_embedding_B": torch.ones(16, 2),
    },
    "a whole embedding": {f"{TOKENS}.weight": torch.ones(ROWS, 16)},
}
LAYER = {f"{IN_LAYER}_A.weight": torch.ones(2, 16), f"{IN_LAYER}_B.weight": torch.ones(16, 2)}


def adapter(folder: Path, added: list[str], more: dict[str, torch.Tensor]) -> Checkpoint:
    tokenizer = Tokenizer(models.WordLevel({f"t{i}": i for i in range(10)}, unk_token="t0"))
    tokenizer.add_tokens(added)
    nano.lora(folder, LAYER | more)
    tokenizer.save(str(folder / "tokenizer.json"))
    return resolve(str(folder))


@pytest.mark.parametrize("kind", CHANGES)
def test_rows_of_other_tokens(kind: str, tmp_path: Path) -> None:
    one = adapter(tmp_path / "one", ["<x>"], CHANGES[kind])
    two = adapter(tmp_path / "two", ["<y>"], CHANGES[kind])
    with pytest.raises(AlignmentError, match="row 10 of the vocabulary is '<x>' in one, '<y>' in"):
        merge_adapters([one, two], [0.5, 0.5])
    more = adapter(tmp_path / "more", ["<x>", "<y>"], CHANGES[kind])
    merge_adapters([one, more], [0.5, 0.5])


def test_a_matrix_with_fewer_rows_than_there_are_tokens_is_no_vocabulary(tmp_path: Path) -> None:
    """A projector beside the layers has rows, and none of them is a token."""
    at = "base_model.model.projector.linear.lora"
    small = {f"{at}_A.weight": torch.ones(2, 16), f"{at}_B.weight": torch.ones(9, 2)}
    one, two = (adapter(tmp_path / name, [f"<{name}>"], small) for name in "xy")
    merge_adapters([one, two], [0.5, 0.5])


def test_what_is_left_out_is_named_where_two_folders_have_one_name(tmp_path: Path) -> None:
    folders = [tmp_path / where / "lora" for where in "xy"]
    merged = merge_adapters(
        [adapter(folder, [f"<{folder.parent.name}>"], {}) for folder in folders], [0.5, 0.5]
    )
    assert left_out_tokens(merged.sources, "lora") == [
        "tokens of lora not in lora, whose tokenizer is copied, left out: 1 ('<y>')"
    ]


def test_what_no_adapter_changes_is_not_compared(tmp_path: Path) -> None:
    """Whose tokenizer is copied, and what it lacks, is said."""
    for name in ("x", "y"):
        adapter(tmp_path / name, [f"<{name}>"], {})
    step = {"operator": "linear", "models": ["x", "y"]}
    stated = {"simmerge": 1, "models": ["./x", "./y"], "steps": [step], "output": "adapter"}
    recipe, _ = parse(json.dumps(stated), "recipe.yaml", folder=tmp_path)
    report = merge(recipe, tmp_path / "out")
    assert report.notes == ("tokens of y not in x, whose tokenizer is copied, left out: 1 ('<y>')",)
    assert (tmp_path / "out/tokenizer.json").read_bytes() == (
        tmp_path / "x/tokenizer.json"
    ).read_bytes()
