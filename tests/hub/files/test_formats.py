"""Scales find their weights, buffers are told apart, and what cannot be read is refused by name."""

from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch

from simmerge_hub.errors import CheckpointError
from simmerge_hub.hub.files.formats import quantization, refuse_quantised, sort_tensors
from simmerge_hub.hub.files.headers import BITS, TensorHeader
from simmerge_hub.hub.resolve import resolve
from tests import nano

BLOCKS = {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}
FP8 = {"quantization_config": {"quant_method": "fp8", "weight_block_size": [2, 3]}}
CHANNELS = {"num_bits": 8, "type": "float", "strategy": "channel"}
HINT = "merge a checkpoint stored in float32, float16 or bfloat16, or in 8-bit floats with " \
    "their scales"  # fmt: skip


def headers(**tensors: tuple[str, tuple[int, ...]]) -> dict[str, TensorHeader]:
    """Tensors of these dtypes and shapes, one after the other; `__` in a name is a dot."""
    laid_out, at = {}, 0
    for name, (dtype, shape) in tensors.items():
        end = at + prod(shape) * BITS[dtype] // 8
        laid_out[name.replace("__", ".")] = TensorHeader(
            file="f", dtype=dtype, shape=shape, start=at, end=end
        )
        at = end
    return laid_out


def sort(config: dict[str, Any] | None = None, **tensors: Any) -> Any:
    return sort_tensors("org/x", headers(**tensors), config or {}, ())


def refused(config: dict[str, Any] | None = None, **tensors: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        sort(config, **tensors)
    assert caught.value.hint
    return str(caught.value)


class TestConfigs:
    @pytest.mark.parametrize(
        ("stated", "seen"),
        [
            ({"quant_method": "gptq", "bits": 4}, "gptq (4 bit)"),
            ({"quant_method": "awq", "w_bit": 4}, "awq (4 bit)"),
            ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes (4 bit)"),
            ({"load_in_8bit": True}, "bitsandbytes (8 bit)"),
            ({"quant_method": "hqq", "nbits": 3}, "hqq (3 bit)"),
            ({"quant_method": "mxfp4"}, "mxfp4"),
            ({"quant_method": "aqlm"}, "aqlm"),
            ({"quant_method": "quanto", "weights": "int8"}, "quanto"),
            ({"quant_method": "torchao"}, "torchao"),
            ({"quant_method": "eetq"}, "eetq"),
            ({"quant_method": "of-tomorrow"}, "of-tomorrow"),
            ({"bits": 4}, "an unnamed method (4 bit)"),
            (
                {"quant_method": "compressed-tensors",
                 "config_groups": {"0": {"weights": {"num_bits": 4, "type": "int"}}}},
                "compressed-tensors (4 bit)",
            ),
            (
                {"config_groups": {"0": {"weights": CHANNELS},
                                   "1": {"weights": {"num_bits": 8, "type": "int"}}}},
                "compressed-tensors (8 bit)",
            ),
            (
                {"quant_method": "compressed-tensors",
                 "config_groups": {"0": {"weights": {"num_bits": 4, "type": "float"}}}},
                "compressed-tensors (4 bit)",
            ),
        ],
    )  # fmt: skip
    def test_refused_by_name(self, stated: dict[str, Any], seen: str) -> None:
        with pytest.raises(CheckpointError) as caught:
            refuse_quantised("org/x", {"quantization_config": stated}, ("org/plain",))
        assert str(caught.value) == f"org/x is quantised with {seen}, which cannot be merged"
        assert caught.value.hint == (
            "use the unquantised original (org/plain), or load it with transformers, "
            "dequantize() it and save_pretrained() it again"
        )

    @pytest.mark.parametrize(
        "config",
        [
            {},
            {"quantization_config": None},
            {"quantization_config": {}},
            {"quantization_config": "rubbish"},
            FP8,
            {"quantization_config": {"quant_method": "fbgemm_fp8"}},
            {"quantization_config": {"quant_method": "compressed-tensors",
                                     "config_groups": {"0": {"weights": CHANNELS}, "1": {}}}},
            {"quantization_config": {"quant_method": "compressed-tensors", "config_groups": []}},
        ],
    )  # fmt: skip
    def test_not_refused(self, config: dict[str, Any]) -> None:
        refuse_quantised("org/x", config, ())

    def test_where_it_may_be_stated(self) -> None:
        stated = {"quant_method": "gptq"}
        assert quantization({"text_config": {"quantization_config": stated}}) == stated
        assert quantization({"compression_config": stated}) == stated

    def test_before_any_header_is_read(self, tmp_path: Path) -> None:
        config = {"quantization_config": {"quant_method": "gptq", "bits": 4}}
        card = "---\nbase_model: org/plain\n---\n"
        folder = nano.save(tmp_path / "x", {"w": torch.ones(1)}, config=config, card=card)
        (folder / "model.safetensors").write_bytes(b"never looked at")
        with pytest.raises(CheckpointError) as caught:
            resolve(str(folder))
        assert str(caught.value) == (
            f"{folder} is quantised with gptq (4 bit), which cannot be merged"
        )
        assert "(org/plain)" in caught.value.hint


@pytest.mark.parametrize(
    ("tensors", "seen"),
    [
        ({"a__qweight": ("I32", (4, 4)), "a__qzeros": ("I32", (1, 4))},
         "gptq or awq (it has a.qweight)"),
        ({"a__weight__absmax": ("F32", (4,))}, "bitsandbytes (it has a.weight.absmax)"),
        ({"a__weight__quant_state__bitsandbytes__nf4": ("U8", (9,))},
         "bitsandbytes (it has a.weight.quant_state.bitsandbytes.nf4)"),
        ({"a__SCB": ("F32", (4,))}, "bitsandbytes (it has a.SCB)"),
        ({"a__weight_packed": ("I32", (4, 4))}, "compressed-tensors (it has a.weight_packed)"),
        ({"e__up_blocks": ("U8", (4, 4)), "e__up_scales": ("U8", (4,))},
         "mxfp4 (it has e.up_blocks)"),
        ({"a__W_q": ("U8", (4, 4))}, "hqq (it has a.W_q)"),
        ({"a__weight___data": ("I8", (4, 4))}, "quanto (it has a.weight._data)"),
        ({"a___weight_qdata": ("I8", (4, 4))}, "torchao (it has a._weight_qdata)"),
        ({"a__weight": ("I8", (4, 4)), "a__weight_scale": ("F32", (4, 1))},
         "whole numbers (a.weight is I8)"),
        ({"a__weight": ("U8", (4, 2)), "a__weight_scale": ("F8_E4M3", (4, 1))},
         "whole numbers (a.weight is U8)"),
        ({"a__up": ("U8", (4, 2)), "a__up_scale": ("F32", (4, 1))},
         "whole numbers (a.up is U8)"),
    ],
)  # fmt: skip
def test_packed_weights_are_told_by_their_tensors(tensors: dict[str, Any], seen: str) -> None:
    assert refused(**tensors) == f"org/x is quantised with {seen}, which cannot be merged"


class TestBuffers:
    def test_whole_numbers_and_bools_are_buffers(self) -> None:
        weights, buffers = sort(
            w=("F32", (2, 2)),
            position_ids=("I64", (1, 8)),
            attn__bias=("BOOL", (1, 1, 4, 4)),
            bn__num_batches_tracked=("I64", ()),
            mask=("U8", (3,)),
        )
        assert list(weights) == ["w"]
        assert list(buffers) == ["position_ids", "attn.bias", "bn.num_batches_tracked", "mask"]

    @pytest.mark.parametrize("dtype", ["C64", "F4", "F6_E2M3", "F6_E3M2", "F8_E4M3FNUZ", "F8_E8M0"])
    def test_what_has_no_use_is_refused_by_name(self, dtype: str) -> None:
        assert refused(a__weight=(dtype, (8, 4))) == (
            f"org/x cannot be merged: a.weight is stored as {dtype}"
        )

    def test_in_a_checkpoint(self, tmp_path: Path) -> None:
        tensors = nano.weights() | {"model.position_ids": torch.arange(8)}
        checkpoint = resolve(str(nano.save(tmp_path / "m", tensors)))
        assert list(checkpoint.buffers) == ["model.position_ids"]
        assert set(checkpoint.tensors) == set(nano.weights())
        assert not any(header.scale for header in checkpoint.tensors.values())


class TestScales:
    @pytest.mark.parametrize(
        ("shape", "scale", "config", "block"),
        [
            ((5, 7), (), {}, (5, 7)),
            ((5, 7), (1,), {}, (5, 7)),
            ((5, 7), (1, 1), {}, (5, 7)),
            ((5, 7), (5, 1), {}, (1, 7)),
            ((5, 7), (5,), {}, (1, 7)),
            ((5, 7), (3, 3), FP8, (2, 3)),
            ((4, 6), (2, 2), FP8, (2, 3)),
            ((300, 200), (3, 2), BLOCKS, (128, 128)),
            ((300, 200), (3, 2), {}, (128, 128)),
            ((2, 5, 7), (2, 3, 3), FP8, (1, 2, 3)),
            ((2, 5, 7), (2, 5, 1), {}, (1, 1, 7)),
            ((2, 5, 7), (2, 1, 7), {}, (1, 5, 1)),
            ((2, 5, 7), (2, 1, 1), {}, (1, 5, 7)),
            ((7,), (1,), {}, (7,)),
            ((0, 7), (0, 1), {}, (1, 7)),
        ],
    )
    def test_shapes(
        self, shape: tuple[int, ...], scale: tuple[int, ...], config: Any, block: tuple[int, ...]
    ) -> None:
        weights, buffers = sort(
            config, a__weight=("F8_E4M3", shape), a__weight_scale_inv=("F32", scale)
        )
        assert list(weights) == ["a.weight"]
        assert not buffers
        header = weights["a.weight"]
        assert header.scale is not None
        assert (header.scale.shape, header.block) == (scale, block)

    def test_blocks_as_compressed_tensors_states_them(self) -> None:
        group = {"weights": CHANNELS | {"strategy": "block", "block_structure": [2, 3]}}
        config = {"quantization_config": {"config_groups": {"0": group}}}
        weights, _ = sort(config, a__weight=("F8_E5M2", (5, 7)), a__weight_scale=("BF16", (3, 3)))
        assert weights["a.weight"].block == (2, 3)

    def test_other_scales_vanish_with_them(self) -> None:
        weights, buffers = sort(
            FP8,
            a__weight=("F8_E4M3", (5, 7)),
            a__weight_scale=("F32", ()),
            a__input_scale=("F32", ()),
            attn__k_scale=("F32", ()),
            attn__v_scale=("BF16", (1,)),
            norm__weight=("BF16", (7,)),
            logit_scale=("F32", ()),
        )
        assert list(weights) == ["a.weight", "norm.weight", "logit_scale"]
        assert not buffers

    def test_scales_of_nothing_8_bit_are_parameters(self) -> None:
        weights, _ = sort(
            a__weight=("F32", (2, 2)), a__weight_scale=("F32", (2,)), a__input_scale=("F32", ())
        )
        assert list(weights) == ["a.weight", "a.weight_scale", "a.input_scale"]

    @pytest.mark.parametrize(
        ("tensors", "seen"),
        [
            ({"a__weight": ("F8_E4M3", (5, 7))},
             "a.weight is stored as F8_E4M3 and has no scale"),
            ({"a__weight": ("F8_E4M3", (5, 7)), "a__weight_scale": ("F32", ()),
              "a__weight_scale_inv": ("F32", ())},
             "a.weight is stored as F8_E4M3 and has a.weight_scale_inv and a.weight_scale"),
            ({"a__weight": ("F8_E4M3", (5, 7)), "a__weight_scale_inv": ("F32", (2, 3))},
             "a.weight_scale_inv is [2, 3], which does not scale a.weight [5, 7] "
             "in blocks of 2 × 3"),
            ({"a__weight": ("F8_E4M3", (7,)), "a__weight_scale": ("F32", (7,))},
             "a.weight_scale is [7], which does not scale a.weight [7] in blocks of 2 × 3"),
            ({"a__weight": ("F8_E4M3", (2, 5, 7)), "a__weight_scale": ("F32", (2, 5, 3))},
             "a.weight_scale is [2, 5, 3], which does not scale a.weight [2, 5, 7] "
             "in blocks of 2 × 3"),
            ({"a__weight": ("F8_E4M3", (5, 7)), "a__weight_scale": ("I32", ())},
             "a.weight_scale is stored as I32, which is no scale"),
            ({"a__weight_scale_inv": ("F32", (2, 3))},
             "a.weight_scale_inv scales a.weight, which is not there"),
            ({"a__weight": ("BF16", (5, 7)), "a__weight_scale": ("F32", ())},
             "a.weight_scale scales a.weight, which is stored as BF16"),
        ],
    )  # fmt: skip
    def test_refusals(self, tensors: dict[str, Any], seen: str) -> None:
        assert refused(FP8, **tensors) == f"org/x cannot be merged: {seen}"

    def test_the_hint(self) -> None:
        with pytest.raises(CheckpointError) as caught:
            sort(a__weight=("F8_E4M3", (5, 7)))
        assert caught.value.hint == HINT

    @pytest.mark.parametrize("stated", [[2], [0, 3], "x", None, [2.0, 3.0], {"a": 1}])
    def test_odd_block_sizes_are_not_believed(self, stated: Any) -> None:
        config = {"quantization_config": {"quant_method": "fp8", "weight_block_size": stated}}
        seen = refused(config, a__weight=("F8_E4M3", (5, 7)), a__weight_scale_inv=("F32", (3, 3)))
        assert seen.endswith("in blocks of 128 × 128")
