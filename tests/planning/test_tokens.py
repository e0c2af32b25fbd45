"""Models whose vocabularies differ are planned as they are merged: token by token."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.merger import merge
from simmerge_hub.planning.ask.options import Sources, Tasks
from simmerge_hub.planning.evidence import sign_all
from simmerge_hub.planning.inputs import Inputs, pin
from simmerge_hub.planning.plan import plan
from simmerge_hub.signatures.features.vector import FEATURE_NAMES
from tests import nano

ADDED = ("<|im_start|>", "<|im_end|>")
CONFIG, TOKENIZER = "config.json", "tokenizer.json"
EMBEDDING = "model.embed_tokens.weight"
PAIR = Tasks(experts={"code": "code", "math": "math"})
STRUCTURAL = Sources(signals="structural")


def with_more(tensors: dict[str, Tensor], rows: int) -> dict[str, Tensor]:
    """Random rows after those of the embedding and the head."""
    more = torch.full((rows, nano.WIDTH), 9.0)
    return {n: torch.cat([t, more]) if len(t) == nano.VOCABULARY else t for n, t in tensors.items()}


@pytest.fixture
def family(tmp_path: Path) -> tuple[str, str, str]:
    """A base and two fine-tunes, of which the first added tokens for a chat."""
    base = nano.weights()
    nano.save(tmp_path / "base", base)
    code = nano.save(tmp_path / "code", with_more(nano.tuned(base, 1), len(ADDED)))
    (code / TOKENIZER).write_text(nano.words(nano.VOCABULARY, *ADDED))
    nano.save(tmp_path / "math", nano.tuned(base, 2))
    return str(tmp_path / "base"), str(code), str(tmp_path / "math")


def test_a_model_with_more_tokens_is_planned_and_merged(
    family: tuple[str, str, str], tmp_path: Path
) -> None:
    base, code, math = family
    said: list[str] = []
    made = plan(code, math, base=base, tasks=PAIR, sources=STRUCTURAL, note=said.append)
    assert (
        "the vocabularies differ (rows: base 20, code 22): embeddings are merged token by "
        "token, and left out of what is compared here"
    ) in said
    merge(made.recipe, tmp_path / "merged")
    merged, one, other = (
        load_file(Path(folder) / "model.safetensors")[EMBEDDING]
        for folder in (tmp_path / "merged", code, math)
    )
    assert made.recipe.steps[0].operator == "linear"
    torch.testing.assert_close(merged, (one[: nano.VOCABULARY] + other) / 2)


def signed(inputs: Inputs, signals: str = "structural"):
    return sign_all(inputs, Sources(signals=signals), progress=lambda _: None, note=None)  # type: ignore[arg-type]


def test_rows_of_other_tokens_are_not_compared(family: tuple[str, str, str]) -> None:
    base, code, math = family
    tokenizer = json.loads((Path(math) / TOKENIZER).read_text())
    words = list(tokenizer["model"]["vocab"])
    tokenizer["model"]["vocab"] = {word: i for i, word in enumerate([*words[1:], words[0]])}
    (Path(math) / TOKENIZER).write_text(json.dumps(tokenizer))
    inputs = pin([code, math], base, PAIR)
    assert "the vocabularies differ (rows: base 20, code 22): embeddings" in inputs.notes[-1]
    assert inputs.uncompared == {EMBEDDING, "lm_head.weight"}
    known = signed(inputs)
    assert known.base is not None
    for signature in (known.base, *known.signatures.values()):
        assert inputs.uncompared.isdisjoint(signature.sampled)
        assert inputs.uncompared.isdisjoint(signature.shapes)
        assert "model.norm.weight" in signature.sampled


def test_one_vocabulary_is_compared_whole(family: tuple[str, str, str], tmp_path: Path) -> None:
    base, _, math = family
    code = nano.save(tmp_path / "plain" / "code", nano.tuned(nano.weights(), 1))
    inputs = pin([str(code), math], base, PAIR)
    assert not inputs.uncompared
    assert EMBEDDING in signed(inputs).signatures["math"].sampled


@pytest.fixture
def grown(tmp_path: Path) -> str:
    """The packaged expert for code, with two tokens more that it never says."""
    source, code = nano_folder() / "code", tmp_path / "code"
    code.mkdir()
    tensors = load_file(source / "model.safetensors")
    rows, width = tensors[EMBEDDING].shape
    unlikely = -tensors[EMBEDDING].mean(0).expand(len(ADDED), width)
    tensors[EMBEDDING] = torch.cat([tensors[EMBEDDING], unlikely])
    save_file(tensors, code / "model.safetensors", metadata={"format": "pt"})
    config, tokenizer = (json.loads((source / n).read_text()) for n in (CONFIG, TOKENIZER))
    config["vocab_size"] += len(ADDED)
    tokenizer["added_tokens"] += json.loads(nano.words(rows, *ADDED))["added_tokens"]
    (code / CONFIG).write_text(json.dumps(config))
    (code / TOKENIZER).write_text(json.dumps(tokenizer))
    return str(code)


PROBED = Tasks(
    experts=PAIR.experts,
    probes={task: str(nano_folder() / "probes" / f"{task}.jsonl") for task in PAIR.experts},
)


def test_what_both_say_on_the_same_prompts_is_compared(grown: str) -> None:
    """Of a model with more tokens, too: those that both know."""
    math, base = str(nano_folder() / "math"), str(nano_folder() / "base")
    wider, plain = (
        signed(pin([model, math], base, PROBED), "full").compare("code", "math", "code")
        for model in (grown, str(nano_folder() / "code"))
    )
    behaviour = [n for n in FEATURE_NAMES if n.startswith(("js", "kl", "hidden", "drift_fisher"))]
    assert len(behaviour) > 5
    np.testing.assert_allclose(
        [wider[n] for n in behaviour], [plain[n] for n in behaviour], atol=0.02
    )


def test_merges_of_it_are_tried_on_the_answers_of_both(grown: str) -> None:
    math, base = str(nano_folder() / "math"), str(nano_folder() / "base")
    made = plan(grown, math, base=base, tasks=PROBED, tries=1)
    assert made.verdict.tried
    assert made.to_dict()["status"] == "tried"
