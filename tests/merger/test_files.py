"""config.json and the files beside the weights, corrected by hand-made layouts."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from simmerge_hub.errors import AlignmentError, RecipeError
from simmerge_hub.hub.resolve import resolve
from simmerge_hub.merger.files import carry_over, check_config, output_config
from simmerge_hub.merger.layout import Layout, lay_out
from simmerge_hub.recipe import Recipe, Slice, Source, Step
from simmerge_hub.weights.loaded.model import build_empty, read_refusal
from tests import nano


def layout(folder: Path, config: dict[str, Any], *slices: Slice, **fields: Any) -> Layout:
    """Models a and b with this config of theirs, a linear merge of both."""
    for seed, name in enumerate("ab"):
        if not (folder / name).exists():
            nano.save(folder / name, nano.weights(seed), config={**nano.CONFIG, **config})
    recipe = Recipe(
        base=None,
        models=tuple(Source(name=name, folder=folder / name) for name in "ab"),
        steps=(Step(operator="linear", models=("a", "b"), parameters={}),),
        slices=slices,
        **fields,
    )
    return lay_out(recipe, {name: resolve(str(folder / name)) for name in "ab"})


def test_how_weights_were_stored_is_left_out(tmp_path: Path) -> None:
    config = {
        "torch_dtype": "float16",
        "_name_or_path": "/home/me/secret",
        "auto_map": {"AutoModel": "modeling.X"},
        "text_config": {"torch_dtype": "float16", "hidden_size": 3},
    }
    out = output_config(layout(tmp_path, config, dtype="bfloat16"))
    assert out["dtype"] == "bfloat16"
    assert out["text_config"] == {"hidden_size": 3}
    assert not out.keys() & {"torch_dtype", "_name_or_path", "auto_map"}
    assert out["hidden_size"] == nano.WIDTH
    custom = output_config(layout(tmp_path, config, custom_code=True))
    assert custom["auto_map"] == {"AutoModel": "modeling.X"}


def test_the_reference_s_config_is_not_changed(tmp_path: Path) -> None:
    one = layout(tmp_path, {"text_config": {"torch_dtype": "float16"}})
    before = json.dumps(one.reference.config)
    output_config(one)
    assert json.dumps(one.reference.config) == before


def test_layers_are_counted_and_their_lists_cut(tmp_path: Path) -> None:
    """Layers 1 and 0 of a; then layer 1 of it again: the list follows them."""
    config = {"layer_types": ["full", "sliding"], "other": ["x"], "vision": {"num_layers": 2},
              "eos_token_id": [4, 5], "num_nextn_predict_layers": 1}  # fmt: skip
    slices = [Slice(layers={"a": span, "b": (0, 1)}) for span in ((1, 2), (0, 1), (1, 2))]
    out = output_config(layout(tmp_path, config, *slices))
    assert out["num_hidden_layers"] == 3
    assert out["layer_types"] == ["sliding", "full", "sliding"]
    assert (out["other"], out["eos_token_id"]) == (["x"], [4, 5])
    assert out["num_nextn_predict_layers"] == 0  # slices leave out what predicts further tokens
    assert out["vision"] == {"num_layers": 2}  # a tower beside it has as many by chance


@pytest.mark.parametrize(
    ("config", "seen"),
    [
        ({"is_encoder_decoder": True}, "a is an encoder-decoder"),
        ({"num_hidden_layers": None}, r"does not say how many layers it has: none of .* is 2"),
    ],
)
def test_layers_that_cannot_be_counted(tmp_path: Path, config: dict[str, Any], seen: str) -> None:
    part = Slice(layers={"a": (0, 1), "b": (0, 1)})
    with pytest.raises(RecipeError, match=seen):
        check_config(layout(tmp_path, config, part))


def test_an_encoder_decoder_needs_no_count_of_layers(tmp_path: Path) -> None:
    check_config(layout(tmp_path, {"is_encoder_decoder": True}))


def test_an_untied_head(tmp_path: Path) -> None:
    one = layout(tmp_path, {"tie_word_embeddings": True, "text": {"tie_word_embeddings": True}})
    untied = replace(one, alignment=replace(one.alignment, untied=True))
    out = output_config(untied)
    assert out["tie_word_embeddings"] is False
    assert out["text"] == {"tie_word_embeddings": False}
    assert output_config(one)["tie_word_embeddings"] is True


def test_ids_are_those_of_the_tokenizer_that_is_taken(tmp_path: Path) -> None:
    inner = {"pad_token_id": 7, "eos_token_id": 8}
    config = {"text_config": {**inner, "inner": inner}, "pad_token_id": 7}
    one = layout(tmp_path, config, tokenizer="b")
    theirs: dict[str, Any] = {
        "eos_token_id": 5,
        "cls_token_id": 6,
        "text_config": {"pad_token_id": 9},
    }
    theirs["text_config"]["inner"] = {"eos_token_id": 3}
    other = replace(one.checkpoints["b"], config=theirs)
    out = output_config(replace(one, checkpoints={**one.checkpoints, "b": other}))
    assert (out["bos_token_id"], out["eos_token_id"], out["pad_token_id"]) == (0, 5, 7)
    inside = {"pad_token_id": 7, "eos_token_id": 3}
    assert out["text_config"] == {"pad_token_id": 9, "eos_token_id": 8, "inner": inside}
    assert "cls_token_id" not in out


@pytest.mark.parametrize("where", ["config", "generation_config"])
def test_other_ids_are_those_of_the_same_tokens(where: str, tmp_path: Path) -> None:
    """b has a token before all others: what a states by number is one further there."""
    ids = {"image_token_id": 4, "decoder_start_token_id": 0, "begin_suppress_tokens": [2, 5, 99]}
    more = {**ids, "mask_token_id": 3, "image_token_index": None, "eos_token_id": 2, "top_k": 4}
    more["forced_decoder_ids"], more["sequence_bias"] = [[1, 2], [2, None]], [[[2, 4], 3]]
    more["bad_words_ids"], more["lang_to_id"] = [[2], [4, 5]], {"<|en|>": 4}
    more["text_config"] = {"bos_token_id": 2, "inner": {"pad_token_id": 4, "depth": 4}}
    one = layout(tmp_path, more)
    words = Tokenizer(WordLevel({f"w{i - 1}": i for i in range(nano.VOCABULARY)}, "w0"))
    words.save(str(tmp_path / "b/tokenizer.json"))
    stated = {**nano.CONFIG, "mask_token_id": 9, "eos_token_id": 7}
    (tmp_path / "b/config.json").write_text(json.dumps(stated))
    (tmp_path / "a/generation_config.json").write_text(json.dumps(more))
    (tmp_path / "b/generation_config.json").unlink(missing_ok=True)
    checkpoints = {name: resolve(str(tmp_path / name)) for name in "ab"}
    one = lay_out(replace(one.recipe, tokenizer="b"), checkpoints)
    (tmp_path / "out").mkdir()
    carry_over(one, tmp_path / "out")
    out = json.loads((tmp_path / f"out/{where}.json").read_text())
    assert {key: out[key] for key in more} == {
        "image_token_id": 5,
        "decoder_start_token_id": 1,
        "begin_suppress_tokens": [3, 6, 99],
        "mask_token_id": 9,
        "image_token_index": None,
        "eos_token_id": 7,
        "top_k": 4,
        "forced_decoder_ids": [[1, 3], [2, None]],
        "sequence_bias": [[[3, 5], 3]],
        "bad_words_ids": [[3], [5, 6]],
        "lang_to_id": {"<|en|>": 5},
        "text_config": {"bos_token_id": 3, "inner": {"pad_token_id": 5, "depth": 4}},
    }


def test_files_that_are_carried_over(tmp_path: Path) -> None:
    one = layout(tmp_path, {})
    kept = ("generation_config.json", "LICENSE", "NOTICE.txt", "preprocessor_config.json")
    for name in (*kept, "modeling_x.py", "README.md", "training_args.bin", "LICENSE.d"):
        (tmp_path / "a" / name).write_text(name)
    (tmp_path / "b" / "LICENSE").write_text("of b")
    out = tmp_path / "out"
    for custom in (False, True):
        fields = {"tokenizer": "b", "custom_code": custom}
        out.mkdir()
        carry_over(layout(tmp_path, {}, **fields), out)
        names = {path.name for path in out.iterdir()}
        assert names == {
            *kept, "LICENSE.d", "config.json", "tokenizer.json", "tokenizer_config.json",
            *(["modeling_x.py"] if custom else []),
        }  # fmt: skip
        assert (out / "LICENSE").read_text() == "LICENSE"
        for path in out.iterdir():
            path.unlink()
        out.rmdir()
    assert one.reference.name == "a"


@pytest.mark.parametrize("lost", ["layers.1.", "lm_head"])
def test_what_all_models_lack_is_not_made_up(lost: str, tmp_path: Path) -> None:
    config = {"vocab_size": nano.VOCABULARY, "tie_word_embeddings": False}
    for seed, name in enumerate("ab"):
        tensors = {n: t for n, t in nano.weights(seed).items() if lost not in n}
        nano.save(tmp_path / name, tensors, config={**nano.CONFIG, **config})
    with pytest.raises(AlignmentError, match=rf"^a stores no .*{lost}.*would make it up$"):
        check_config(layout(tmp_path, {}))


@pytest.mark.parametrize(
    ("key", "wanted", "seen"),
    [
        ("vocab_size", 40, r"embed_tokens.weight is .* has \[40, .*, for it says vocab_size 40"),
        ("intermediate_size", 40, r"gate_proj.weight is .* has \[40, .*intermediate_size 40"),
        ("num_attention_heads", 4, r"_proj.weight is .* and a model of this config has"),
        ("num_key_value_heads", 1, r"k_proj.weight is .* and a model of this config has"),
        ("hidden_size", 2 * nano.WIDTH, r"embed_tokens.weight is .*fit: 21$"),
    ],
)
def test_a_config_of_other_sizes_is_refused(
    key: str, wanted: int, seen: str, tmp_path: Path
) -> None:
    """As transformers refuses to load it; a wrong number of layers it passes over."""
    stated = {"head_dim": nano.WIDTH // 2, key: wanted}
    with pytest.raises(
        AlignmentError, match=f"^the weights of a do not fit its config.json.*{seen}"
    ):
        check_config(layout(tmp_path, stated))


def test_a_config_that_is_not_written_is_doubted_only(tmp_path: Path) -> None:
    other = {**nano.CONFIG, "vocab_size": nano.VOCABULARY, "num_hidden_layers": 1}
    nano.save(tmp_path / "b", nano.weights(1), config=other)
    (note,) = check_config(layout(tmp_path, {})).notes
    assert note.startswith("transformers passes over model.layers.1.") and " of b: " in note
    nano.save(tmp_path / "b", nano.weights(1), config={**other, "intermediate_size": 40})
    (note,) = [n for n in check_config(layout(tmp_path, {})).notes if "config.json" in n]
    assert note.startswith("the weights of b do not fit its config.json: ")
    assert note.endswith("; the output has the config of a")


def test_what_only_weights_or_only_the_config_have_is_said(tmp_path: Path) -> None:
    one = layout(tmp_path, {"num_hidden_layers": 1, "attention_bias": True})
    passed, made_up = check_config(one).notes
    assert passed.startswith("transformers passes over model.layers.1.")
    assert made_up.startswith("a stores no model.layers.0.self_attn.q_proj.bias and 3 more")
    assert not check_config(layout(tmp_path / "true", {})).notes


def test_what_is_made_anew_or_read_by_own_code_is_not_refused(tmp_path: Path) -> None:
    """Rotary frequencies that old models stored; models with code of their own."""
    names = [f"model.layers.{n}.self_attn.rotary_emb.inv_freq" for n in (0, 1)]
    for seed, folder in enumerate((tmp_path / "a", tmp_path / "b")):
        tensors = nano.weights(seed) | {name: torch.ones(4) for name in names}
        nano.save(folder, tensors, config=nano.CONFIG)
    assert not check_config(layout(tmp_path, {})).notes
    own = {"auto_map": {"AutoModelForCausalLM": "modeling.Own"}, "intermediate_size": 40}
    (note,) = check_config(layout(tmp_path / "own", own, custom_code=True)).notes
    assert note.startswith("the weights of a do not fit its config.json: ")
    assert note.endswith(", unless it is loaded with its own code (trust_remote_code)")


def test_infinity_is_read_as_transformers_writes_it() -> None:
    from transformers import Mamba2Config

    config = Mamba2Config(hidden_size=8, num_heads=2, head_dim=8, num_hidden_layers=1)
    stated = {**json.loads(config.to_json_string()), "architectures": ["Mamba2Model"]}
    assert stated["time_step_limit"] == [0.0, {"__float__": "Infinity"}]
    model = build_empty(stated)
    assert model is not None
    assert model.config.time_step_limit == [0.0, float("inf")]
    assert not read_refusal(stated)


def test_a_count_of_layers_that_transformers_does_not_read(tmp_path: Path) -> None:
    stated = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "num_hidden_layers": 3}
    kinds = {"layer_types": ["full_attention"] * 2}
    with pytest.raises(AlignmentError, match=r"\(3\) must be equal .* \(2\); .* stored: 2$"):
        check_config(layout(tmp_path, {**stated, **kinds}))


def test_a_config_that_transformers_reads_and_makes_no_model_of(tmp_path: Path) -> None:
    """It cannot say what such a model lacks; that a layer is missing is seen all the same."""
    stated = {"hidden_act": "nosuch", "attention_bias": True}
    (note,) = check_config(layout(tmp_path, stated)).notes
    assert note.startswith("transformers makes no model of the config.json of a: ")
    assert "nosuch" in note
    with pytest.raises(AlignmentError, match=r"nosuch.*; layers that are stored: 2$"):
        check_config(layout(tmp_path / "more", {**stated, "num_hidden_layers": 3}))


def test_layers_that_share_weights_are_not_missed(tmp_path: Path) -> None:
    """An ALBERT counts layers that are one."""
    from transformers import AlbertConfig, AlbertForMaskedLM

    small = AlbertConfig(
        vocab_size=20, embedding_size=8, hidden_size=16, intermediate_size=24,
        num_attention_heads=2, num_hidden_layers=4,
    )  # fmt: skip
    for name in "ab":
        AlbertForMaskedLM(small).save_pretrained(tmp_path / name)
    check_config(layout(tmp_path, {}))


@pytest.mark.parametrize("model", ["Albert", "XLMRoberta"])
def test_an_encoder_without_its_pooler_is_merged(model: str, tmp_path: Path) -> None:
    """As sentence-transformers keeps them: transformers would make up a pooler that nobody uses."""
    import transformers

    small = getattr(transformers, f"{model}Config")(
        vocab_size=20, embedding_size=8, hidden_size=16, intermediate_size=24,
        num_attention_heads=2, num_hidden_layers=2, max_position_embeddings=8,
        tie_word_embeddings=False,
    )  # fmt: skip
    for name in "ab":
        encoder = getattr(transformers, f"{model}Model")(small, add_pooling_layer=False)
        encoder.save_pretrained(tmp_path / name)
    check_config(layout(tmp_path, {}))
