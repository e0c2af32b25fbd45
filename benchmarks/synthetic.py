"""Models for benchmarks: a 1.1 B base with fine-tunes, noisy nano models, a signature of 7 B shape.

No model of that size can be had without a network, so these are made from seeds. Their deltas have
structure: a few directions, a few entries, a few tokens, growing with depth, and noise; and the
base's rows and columns are of different size.
"""

import hashlib
import json
import math
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.signatures.measures.blocks import block_of, layer_of
from simmerge_hub.signatures.probing.probe import probe_set
from simmerge_hub.signatures.probing.sketch import POSITIONS, TOP_TOKENS, Sketch
from simmerge_hub.signatures.signing.artifact import Settings, Signature
from simmerge_hub.signatures.signing.sample import choose_rows
from simmerge_hub.weights.shapes import matrix_shape

Shapes = dict[str, tuple[int, ...]]
PROJECTIONS = ("q", "k", "v", "o")
RANK = 16
"""Rank of the random adapter."""
CONFIG = {
    "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22,
    "num_attention_heads": 32, "num_key_value_heads": 4, "vocab_size": 32_000,
}  # fmt: skip
SEVEN_B = {
    "hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 32_000,
}  # fmt: skip

SMALL = {
    "hidden_size": 640, "intermediate_size": 2048, "num_hidden_layers": 18,
    "num_attention_heads": 4, "num_key_value_heads": 1, "vocab_size": 262_144,
}  # fmt: skip
"""A model of 270 M parameters, of which its vocabulary has most, and as much again for its head."""
FILLED_ROWS = 16
"""Rows of each matrix of a hollow model that hold numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """How a synthetic fine-tune differs from its base.

    `size` is the norm of a matrix's delta over that of the matrix, at mid depth. Of its square
    `shared` lies in directions of the seed `kin`, `low` in `rank` directions of its own, `sparse`
    in one entry of 50, the rest in all entries alike. `blocks` are the only ones that move.
    """

    size: float
    rank: int = 16
    low: float = 0.0
    sparse: float = 0.0
    shared: float = 0.0
    kin: int = 0
    blocks: tuple[str, ...] = ("embedding", "attention", "mlp", "norm", "head")


TUNINGS = {
    "low-rank": Tuning(size=0.05, rank=16, low=0.5, shared=0.3),
    "kin": Tuning(size=0.04, rank=64, low=0.3, shared=0.3),
    "noise": Tuning(size=0.02),
    "attention": Tuning(size=0.10, rank=8, low=0.9, blocks=("attention",)),
    "sparse": Tuning(size=0.08, sparse=0.7, shared=0.1),
}


def llama_shapes(config: Mapping[str, int]) -> Shapes:
    """Tensor name -> shape of a Llama with an untied head."""
    hidden, inner, words = (config[f"{n}_size"] for n in ("hidden", "intermediate", "vocab"))
    keys = hidden * config["num_key_value_heads"] // config["num_attention_heads"]
    layer = {
        "input_layernorm": (hidden,), "post_attention_layernorm": (hidden,),
        "self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden), "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }  # fmt: skip
    found: Shapes = {"model.embed_tokens.weight": (words, hidden)}
    for i in range(config["num_hidden_layers"]):
        found |= {f"model.layers.{i}.{name}.weight": shape for name, shape in layer.items()}
    return found | {"model.norm.weight": (hidden,), "lm_head.weight": (words, hidden)}


def save_base(folder: Path, seed: int = 0) -> Path:
    """A Llama of 1.1 B parameters in bf16, in three shards; its tokenizer has the probes' words."""
    random = torch.Generator().manual_seed(seed)
    _save(folder, ((n, _weight(s, random)) for n, s in llama_shapes(CONFIG).items()))
    save_tokenizer(folder)
    return folder


def save_fine_tune(base: Path, folder: Path, tuning: Tuning, seed: int) -> Path:
    """A fine-tune of a synthetic base."""

    def tuned() -> Iterator[tuple[str, Tensor]]:
        for shard in sorted(base.glob("*.safetensors")):
            for name, weight in load_file(shard).items():
                yield name, weight.float() + _delta(name, weight.float(), tuning, seed)

    _save(folder, tuned())
    save_tokenizer(folder)
    return folder


def _weight(shape: tuple[int, ...], random: torch.Generator) -> Tensor:
    """Gaussian, with rows and columns of log-normal size."""
    if len(shape) == 1:
        return 1 + 0.1 * torch.randn(shape, generator=random)
    found = torch.randn(shape, generator=random).mul_(0.7 / math.sqrt(shape[1]))
    found *= (0.3 * torch.randn(shape[0], 1, generator=random)).exp()
    return found.mul_((0.2 * torch.randn(1, shape[1], generator=random)).exp())


def _delta(name: str, weight: Tensor, tuning: Tuning, seed: int) -> Tensor:
    block, layer = block_of(name, weight.shape), layer_of(name)
    if block not in tuning.blocks:
        return torch.zeros_like(weight)
    depth = 0.5 if layer is None else layer / CONFIG["num_hidden_layers"]
    size = tuning.size * (0.5 + depth) * float(weight.square().mean().sqrt())
    own = _generator(name, seed)
    if weight.ndim == 1:
        return size * torch.randn(weight.shape, generator=own)
    rest = 1 - tuning.low - tuning.sparse - tuning.shared
    found = math.sqrt(rest) * torch.randn(weight.shape, generator=own)
    if tuning.shared:
        found += math.sqrt(tuning.shared) * _directions(weight, 16, _generator(name, tuning.kin))
    if tuning.low:
        found += math.sqrt(tuning.low) * _directions(weight, tuning.rank, own)
    if tuning.sparse:
        few = torch.rand(weight.shape, generator=own) < 0.02
        scale = math.sqrt(tuning.sparse / 0.02)
        found += few * scale * torch.randn(weight.shape, generator=own)
    if block in ("embedding", "head"):  # rare tokens hardly move
        found *= torch.rand(len(weight), 1, generator=own) ** 2 * math.sqrt(5)
    return found.mul_(size)


def _directions(weight: Tensor, rank: int, random: torch.Generator) -> Tensor:
    """A product of that rank whose entries have mean square 1."""
    rows, cols = weight.shape
    left, right = (torch.randn(n, rank, generator=random) for n in (rows, cols))
    return (left @ right.T).div_(math.sqrt(rank))


def _generator(name: str, seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(hash_of(f"{name} {seed}"))


def hash_of(text: str) -> int:
    """A number that `text` decides, the same in every process."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])


def _save(folder: Path, tensors: Iterator[tuple[str, Tensor]], shard: int = 10**9) -> None:
    """Write bf16 shards of up to a gigabyte, their index and the config."""
    from transformers import LlamaConfig

    folder.mkdir(parents=True)
    LlamaConfig(**CONFIG, architectures=["LlamaForCausalLM"], dtype="bfloat16").save_pretrained(
        folder
    )
    held: dict[str, Tensor] = {}
    files: dict[str, str] = {}
    for name, tensor in tensors:
        if sum(t.nbytes for t in held.values()) + 2 * tensor.numel() > shard:
            _write(folder, held, files)
        held[name] = tensor.to(torch.bfloat16)
    _write(folder, held, files)
    index = {"metadata": {}, "weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _write(folder: Path, held: dict[str, Tensor], files: dict[str, str]) -> None:
    file = f"model-{len(set(files.values())) + 1:05d}.safetensors"
    save_file(held, folder / file, metadata={"format": "pt"})
    files.update(dict.fromkeys(held, file))
    held.clear()


def save_tokenizer(folder: Path, task: str = "code") -> None:
    """One token for each word of a task's prompts, and for what is between words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    cut = pre_tokenizers.Whitespace()
    words = {word for text in probe_set(task).prompts for word, _ in cut.pre_tokenize_str(text)}
    ids = {word: i for i, word in enumerate(["<unk>", *sorted(words)])}
    inner = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    inner.pre_tokenizer = cut
    PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>").save_pretrained(folder)


def save_adapter(base: Checkpoint, folder: Path) -> None:
    """A LoRA of random weights on every attention projection."""
    folder.mkdir()
    tensors, random = {}, torch.Generator().manual_seed(1)
    for name, header in base.tensors.items():
        if any(f"self_attn.{p}_proj.weight" in name for p in PROJECTIONS):
            out, into = header.shape
            at = f"base_model.model.{name.removesuffix('.weight')}"
            tensors[f"{at}.lora_A.weight"] = 0.02 * torch.randn(RANK, into, generator=random)
            tensors[f"{at}.lora_B.weight"] = 0.02 * torch.randn(out, RANK, generator=random)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": 2 * RANK,
        "target_modules": [f"{p}_proj" for p in PROJECTIONS], "base_model_name_or_path": None,
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config))


def save_noisy(model: Path, folder: Path, scale: float, seed: int) -> Path:
    """A copy of a model with noise on every tensor, `scale` of its root mean square."""
    shutil.copytree(model, folder)
    random = torch.Generator().manual_seed(seed)
    for file in folder.glob("*.safetensors"):
        found = {}
        for name, weight in load_file(file).items():
            noise = torch.randn(weight.shape, generator=random)
            size = scale * weight.float().square().mean().sqrt()
            found[name] = (weight.float() + size * noise).to(weight.dtype)
        save_file(found, file, metadata={"format": "pt"})
    return folder


def save_hollow(folder: Path, config: Mapping[str, int], seed: int) -> Path:
    """A bf16 model of this shape that takes no room: but for some rows its file is a hole.

    What looks at rows sees a fine-tune of seed 0; nothing can run it.
    """
    folder.mkdir(parents=True)
    stated = {**config, "architectures": ["LlamaForCausalLM"], "model_type": "llama"}
    (folder / "config.json").write_text(json.dumps({**stated, "dtype": "bfloat16"}))
    shapes, end, header = llama_shapes(config), 0, {}
    for name, shape in shapes.items():
        start, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in shapes.items():
            rows, cols = matrix_shape(shape)
            size = (min(rows, FILLED_ROWS), cols)
            origin = torch.randn(size, generator=_generator(name, 0))
            moved = origin + 0.05 * bool(seed) * torch.randn(size, generator=_generator(name, seed))
            file.seek(8 + len(text) + header[name]["data_offsets"][0])
            file.write(moved.to(torch.bfloat16).view(torch.uint8).numpy().tobytes())
        file.truncate(8 + len(text) + end)
    return folder


def seven_b_signature(
    seed: int, tasks: tuple[str, ...], move: float, config: Mapping[str, int] = SEVEN_B
) -> Signature:
    """What signing a 7 B model in bf16 leaves behind: the same shapes and sizes, random content.

    `move` is how far it is from the model of seed 0, which all share; `config` another shape.
    """
    shapes = llama_shapes(config)
    sampled = {}
    for name, rows in choose_rows(shapes).items():
        size = (sum(high - low for low, high in rows), matrix_shape(shapes[name])[1])
        origin = torch.randn(size, generator=_generator(name, 0))
        own = torch.randn(size, generator=_generator(name, seed))
        sampled[name] = (origin + move * own).to(torch.bfloat16)
    return Signature(
        name=f"seven-{seed}", commit=None, digest=f"{seed:064x}", kind="full", settings=Settings(),
        shapes=shapes, sampled=sampled,
        sketches={t: _sketch(seed, t, move, config) for t in tasks},
    )  # fmt: skip


def _sketch(seed: int, task: str, move: float, config: Mapping[str, int]) -> Sketch:
    """64 prompts of a large vocabulary: 256 tokens kept, mostly the same in every model."""
    prompts, width, words = 64, 256, config["vocab_size"]
    places = prompts * POSITIONS
    of_all, own = (np.random.default_rng(hash_of(f"{task} {s}")) for s in (0, seed))

    def moved(*size: int) -> np.ndarray:
        common = of_all.standard_normal(size, np.float32)
        return common + move * own.standard_normal(size, np.float32)

    ids = np.stack([of_all.permutation(words)[: TOP_TOKENS + 44] for _ in range(places)])
    scores = -1.2 * np.log(1 + np.arange(TOP_TOKENS + 44)) + move * own.standard_normal(ids.shape)
    scores -= np.log(np.exp(scores).sum(1, keepdims=True)) + 0.02
    order = np.argsort(-scores, axis=1)[:, :TOP_TOKENS]
    logprobs = np.take_along_axis(scores, order, 1).astype(np.float32)
    rest = np.maximum(1 - np.exp(logprobs.astype(np.float64)).sum(1), 1e-6)
    attention = np.exp(moved(4, config["num_attention_heads"], 2 * prompts, 100))
    return Sketch(
        probes=task, tokens=task, vocabulary=words, logprobs=logprobs,
        ids=np.take_along_axis(ids, order, 1).astype(np.int32),
        tail=np.log(rest).astype(np.float32), entropy=np.abs(moved(places)),
        loss=np.abs(moved(prompts)),
        ends=np.arange(places) % POSITIONS == POSITIONS - 1,
        hidden=moved(8, places, width), depths=(np.arange(8, dtype=np.float32) + 0.5) / 8,
        attention=(attention / attention.sum(-1, keepdims=True)).astype(np.float16),
        attention_depths=(np.arange(4, dtype=np.float32) + 0.5) / 4,
    )  # fmt: skip
