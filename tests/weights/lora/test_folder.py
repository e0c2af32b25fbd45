"""The folder is complete or not there, says what it holds, and has the same bytes each time."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from simmerge_hub.errors import OutputError, RecipeError
from simmerge_hub.hub.resolve import resolve
from simmerge_hub.operators import arm
from simmerge_hub.weights.lora import adapter_folder, combination, merge_adapters, write_adapter
from tests import nano
from tests.weights.lora.conftest import Workshop

Make = Callable[..., Workshop]
Q = "model.layers.{}.self_attn.q_proj"
UP = "model.layers.{}.mlp.up_proj"
FILES = {"adapter_config.json", "adapter_model.safetensors"}


def read_config(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "adapter_config.json").read_text())


def test_the_config_scales_by_one(workshop: Make) -> None:
    from peft.tuners.lora import LoraLayer

    shop = workshop()
    two = [
        shop.adapter(
            "code", r=2, use_rslora=True, target_modules=["q_proj"], task_type="CAUSAL_LM"
        ),
        shop.adapter("math", r=3, target_modules=["q_proj", "up_proj"], lora_dropout=0.1),
    ]
    report = write_adapter(merge_adapters(two, (1, 1)), shop.folder / "both")
    ranks = {rf"^model\.layers\.{i}\.mlp\.up_proj": 3 for i in range(2)}
    assert read_config(report.folder) == {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": None,
        "inference_mode": True,
        "r": 5,
        "lora_alpha": 5,
        "use_rslora": False,
        "use_dora": False,
        "rank_pattern": ranks,
        "alpha_pattern": ranks,
        "target_modules": ["q_proj", "up_proj"],
        "modules_to_save": None,
        "bias": "none",
        "fan_in_fan_out": False,
        "lora_dropout": 0.0,
        "init_lora_weights": True,
    }
    model = shop.load(report.folder)
    scalings = [module.scaling for module in model.modules() if isinstance(module, LoraLayer)]
    assert scalings == [{"default": 1}] * 4


@pytest.mark.parametrize(
    "config",
    [
        {"target_modules": ["q_proj", "up_proj"], "layers_to_transform": [1]},
        {"target_modules": ["q_proj", "up_proj"], "exclude_modules": r".*layers\.0.*"},
        {"target_modules": r".*layers\.1.*(q_proj|up_proj)"},
    ],
    ids=["layers_to_transform", "exclude_modules", "pattern"],
)
def test_modules_by_name_where_a_list_would_say_too_much(
    workshop: Make, config: dict[str, Any]
) -> None:
    shop = workshop()
    two = [
        shop.adapter("code", 1, r=2, **config),
        shop.adapter("math", 2, r=2, target_modules=["lm_head"]),
    ]
    report = write_adapter(merge_adapters(two, (1, 1)), shop.folder / "both")
    assert read_config(report.folder)["target_modules"] == ["lm_head", UP.format(1), Q.format(1)]
    assert shop.deltas(report.folder).keys() == {
        f"{n}.weight" for n in ("lm_head", UP.format(1), Q.format(1))
    }


def test_a_list_that_does_not_name_all_is_not_believed(tmp_path: Path) -> None:
    one = resolve(str(nano.lora(tmp_path / "code", target_modules=["k_proj"])))
    report = write_adapter(merge_adapters([one], (1,)), tmp_path / "out")
    assert read_config(report.folder)["target_modules"] == [Q.format(0)]


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("operator", ["linear", "ties", "dare_ties"])
def test_the_same_bytes_each_time(workshop: Make, operator: str, rank: int) -> None:
    shop = workshop()
    two = shop.pair(r=3, target_modules=["q_proj", "embed_tokens"])
    contents = set()
    for turn in range(2):
        combine = combination(arm(operator), ("code", "math"))
        merge = merge_adapters(two, combine, rank=rank, dtype="bfloat16")
        report = write_adapter(merge, shop.folder / f"out-{turn}")
        contents.add((report.folder / "adapter_model.safetensors").read_bytes())
    assert len(contents) == 1


def test_dtypes(workshop: Make) -> None:
    """By default that of the first adapter; the arithmetic is float32, rounded once."""
    shop = workshop()
    wide = shop.pair(r=2, target_modules=["q_proj"])
    folder = write_adapter(merge_adapters(wide, (1, 1), dtype="float16"), shop.folder / "a").folder
    half = nano.load(folder)
    assert {t.dtype for t in half.values()} == {torch.float16}
    full = nano.load(write_adapter(merge_adapters(wide, (1, 1)), shop.folder / "b").folder)
    assert all(torch.equal(half[name], tensor.half()) for name, tensor in full.items())
    mixed = write_adapter(
        merge_adapters([resolve(str(folder)), wide[0]], (1, 1)), shop.folder / "c"
    )
    assert mixed.dtype == "float16"


def test_the_report(workshop: Make) -> None:
    shop = workshop()
    two = shop.pair(r=2, target_modules=["q_proj", "up_proj"])
    seen = []
    report = write_adapter(
        merge_adapters(two, (1, 1), rank=3),
        shop.folder / "both",
        progress=lambda *told: seen.append(told),
    )
    modules = {name.format(layer) for name in (Q, UP) for layer in range(2)}
    assert report.residues.keys() == modules
    assert {name for name, *_ in seen} == modules
    assert [told[1:] for told in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert report.size == 2 * (3 * (16 + 16) + 3 * (16 + 24)) * 4
    assert min(report.residues.values()) < report.residue < report.worst[1] < 1
    assert report.residues[report.worst[0]] == report.worst[1]


def test_what_else_is_in_the_folder(tmp_path: Path) -> None:
    one, two = nano.lora(tmp_path / "code"), nano.lora(tmp_path / "math")
    (two / "tokenizer.json").write_text('{"version": "1.0"}')
    (two / "chat_template.jinja").write_text("{{ messages }}")
    merge = merge_adapters([resolve(str(one)), resolve(str(two))], (1, 1))
    with adapter_folder(
        merge,
        tmp_path / "out",
        overwrite=False,
        durable=True,
        metadata={"simmerge": "recipe"},
        progress=None,
    ) as (folder, report):
        (folder / "README.md").write_text(f"# rank {report.rank}\n")
        assert read_config(folder)["peft_type"] == "LORA"  # a digest of all files can be taken
        assert not report.folder.exists()
    names = {path.name for path in report.folder.iterdir()}
    assert names == FILES | {"README.md", "tokenizer.json", "chat_template.jinja"}
    assert report.tokenizer == "math"
    assert (report.folder / "chat_template.jinja").read_text() == "{{ messages }}"
    assert read_config(report.folder)["peft_type"] == "LORA"
    with safe_open(report.folder / "adapter_model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt", "simmerge": "recipe"}


def test_an_existing_folder(tmp_path: Path) -> None:
    merge = merge_adapters([resolve(str(nano.lora(tmp_path / "code")))], (1,))
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").touch()
    with pytest.raises(OutputError, match="exists already"):
        write_adapter(merge, out)
    write_adapter(merge, out, overwrite=True)
    assert {path.name for path in out.iterdir()} == FILES
    assert {path.name for path in tmp_path.iterdir()} == {"code", "out"}


def test_a_merge_that_was_cut_off_starts_anew(tmp_path: Path) -> None:
    merge = merge_adapters([resolve(str(nano.lora(tmp_path / "code")))], (1,))

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_adapter(merge, tmp_path / "out", progress=stop)
    assert not (tmp_path / "out").exists()
    report = write_adapter(merge, tmp_path / "out")
    assert {path.name for path in report.folder.iterdir()} == FILES
    assert {path.name for path in tmp_path.iterdir()} == {"code", "out"}


@pytest.mark.parametrize(
    ("rank", "weight", "dtype", "seen"),
    [
        (0, 1e6, "float16", "lora_A.weight overflows float16"),
        (1, 1e12, "float16", "lora_A.weight overflows float16"),
        (0, 1e300, "float32", "lora_A.weight overflows float32"),
        (1, 1e300, "float32", "q_proj overflows float32"),
    ],
)
def test_overflow(tmp_path: Path, rank: int, weight: float, dtype: str, seen: str) -> None:
    one = resolve(str(nano.lora(tmp_path / "code")))
    merge = merge_adapters([one], (weight,), rank=rank, dtype=dtype)
    with pytest.raises(RecipeError) as caught:
        write_adapter(merge, tmp_path / "out")
    assert seen in str(caught.value)
    assert caught.value.hint == ("use smaller weights or a smaller scale, or write a wider dtype")
    assert not any(tmp_path.glob("out*"))
