"""Bases and specialists, trained in float32 from seeds: the same inputs give the same weights.

Training stops on steps, never on time. With the same library versions and the same number of
threads, two runs on one machine give bit-identical weights; a different number of threads changes
the order of float additions, and so the last bits. What leaves this module is rounded to bfloat16,
because that is what is saved, merged and evaluated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Literal

from simmerge_hub.zoo.real.codec import NANO, Codec
from simmerge_hub.zoo.tasks import PRACTICE, SKILLS, Example, Task, examples
from simmerge_hub.zoo.tokenizer import BOS, EOS, PAD, VOCABULARY

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import LlamaForCausalLM, PreTrainedModel

Mode = Literal["full", "mlp", "attention", "lora"]
Targets = Literal["attention", "mlp", "all"]

CONTEXT = 64
IGNORED = -100
INITIAL = 0.7
"""Standard deviation of initial weights × √width: at transformers' 0.02 attention starts so flat
that a base of width 128 does not learn to look things up within its steps."""
REPLAYED = 0.25
EXPOSED = 0.5
"""Share of a batch that shows a base the tasks it is to half know."""
LORA_RANK = 8
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseSpec:
    """How a base is made: its shape and its training on the named skills.

    Args:
        origin: the base it goes on from, whose shape it has then; new weights by default.
        exposed: task -> how often, relative to the others, half of each batch shows it with its
            prompts. A base trained so for a while half knows these tasks. None by default.
    """

    seed: int
    steps: int
    hidden: int = 128
    layers: int = 4
    heads: int = 4
    intermediate: int = 256
    batch: int = 64
    learning_rate: float = 2e-3
    origin: str | None = None
    exposed: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagedSpec:
    """A base that was not trained here.

    Args:
        package: the installed distribution that holds it as GGUF (`zoo.real.gguf`).
    """

    package: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialistSpec:
    """How a specialist is made from its base.

    Args:
        base: name of the base it starts from.
        task: name of the task it learns, from answers only.
        mode: which weights move: all, the MLPs', the attention's, or a LoRA adapter's.
        learning_rate: peak of the schedule (warm-up over a tenth of the steps, then linear to 0).
        steps: optimizer steps of `batch` examples.
        replay: a quarter of each batch comes from the base's own skills.
        rank: of a LoRA adapter on a base that was not trained here; nano adapters have 8.
        targets: the matrices it is put beside there: "attention", "mlp" or "all".
    """

    base: str
    task: str
    mode: Mode
    learning_rate: float
    steps: int
    seed: int
    batch: int = 48
    replay: bool = False
    rank: int | None = None
    targets: Targets | None = None


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Run torch on `count` threads inside the block: part of what makes weights reproducible."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train_base(
    spec: BaseSpec,
    *,
    origin: PreTrainedModel | None = None,
    tasks: Mapping[str, Task] | None = None,
) -> PreTrainedModel:
    """A model that knows the skills, trained on prompts and answers alike.

    Args:
        spec: how.
        origin: the base `spec.origin` names; it is used up.
        tasks: the tasks `spec.exposed` names.
    """
    model = origin or _new(spec)
    exposed = {(tasks or {})[name]: often for name, often in (spec.exposed or {}).items()}
    lessons = (tensors(batch, prompts=True) for batch in _schooling(spec, exposed))
    _optimize(model, lessons, steps=spec.steps, peak=spec.learning_rate)
    _round(model)
    return model


def _new(spec: BaseSpec) -> LlamaForCausalLM:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(spec.seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=spec.hidden,
        intermediate_size=spec.intermediate,
        num_hidden_layers=spec.layers,
        num_attention_heads=spec.heads,
        num_key_value_heads=spec.heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        initializer_range=round(INITIAL / spec.hidden**0.5, 4),
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
    )
    return LlamaForCausalLM(config)


def train_specialist(base: PreTrainedModel, task: Task, spec: SpecialistSpec) -> PreTrainedModel:
    """`base` after it learned `task`; `base` itself is used up.

    Returns:
        The model, or for mode `lora` a `PeftModel` whose adapter is the result.
    """
    import torch

    torch.manual_seed(spec.seed)
    model = _select(base, spec.mode)
    _optimize(model, _lessons(task, spec), steps=spec.steps, peak=spec.learning_rate)
    _round(model)
    return model


def tensors(
    batch: list[Example], *, prompts: bool = False, codec: Codec = NANO
) -> tuple[Tensor, Tensor]:
    """Token numbers and labels of `batch`, int64 [len(batch), longest], padded on the right.

    Labels stand under the token to be predicted, and are -100 for padding and (unless `prompts`)
    for the prompt. Padding on the right needs no attention mask: nothing looks ahead.
    """
    import torch

    encode = codec.encode
    rows = [
        ([*codec.start, *encode(example.prompt)], [*encode(example.answer), codec.eos])
        for example in batch
    ]
    width = max(len(prompt) + len(answer) for prompt, answer in rows)
    ids = torch.full((len(rows), width), codec.pad)
    labels = torch.full((len(rows), width), IGNORED)
    for i, (prompt, answer) in enumerate(rows):
        tokens = torch.tensor([*prompt, *answer])
        ids[i, : len(tokens)] = tokens
        start = 1 if prompts else len(prompt)
        labels[i, start : len(tokens)] = tokens[start:]
    return ids, labels


def _skills(seed: int) -> Iterator[Example]:
    random = Random(f"skills {seed}")
    streams = [examples(draw, "train", seed=f"{name}/{seed}") for name, draw in SKILLS.items()]
    weights = [PRACTICE.get(name, 1) for name in SKILLS]
    while True:
        yield next(random.choices(streams, weights)[0])


def _schooling(spec: BaseSpec, exposed: Mapping[Task, float]) -> Iterator[list[Example]]:
    """The batches of a base: skills, and in half of each the tasks it is exposed to."""
    skills = _skills(spec.seed)
    shown = round(spec.batch * EXPOSED) if exposed else 0
    seen = _mixture(exposed, spec.seed) if exposed else iter(())
    for _ in range(spec.steps):
        yield [*islice(skills, spec.batch - shown), *islice(seen, shown)]


def _mixture(exposed: Mapping[Task, float], seed: int) -> Iterator[Example]:
    random = Random(f"exposed {seed}")
    streams = [
        examples(t.draw, "train", seed=f"exposed {t.domain}/{t.variant}/{seed}") for t in exposed
    ]
    while True:
        yield next(random.choices(streams, list(exposed.values()))[0])


def _lessons(task: Task, spec: SpecialistSpec) -> Iterator[tuple[Tensor, Tensor]]:
    new = examples(task.draw, "train", seed=f"lessons {spec.seed}")
    old = _skills(spec.seed)
    replayed = round(spec.batch * REPLAYED) if spec.replay else 0
    for _ in range(spec.steps):
        batch = [*islice(new, spec.batch - replayed), *islice(old, replayed)]
        yield tensors(batch)


def _select(base: PreTrainedModel, mode: Mode) -> PreTrainedModel:
    """`base` with only the weights that `mode` moves left trainable."""
    if mode == "lora":
        from peft import LoraConfig, get_peft_model

        adapter = LoraConfig(
            r=LORA_RANK,
            lora_alpha=2 * LORA_RANK,
            target_modules=PROJECTIONS,
            task_type="CAUSAL_LM",
        )
        return get_peft_model(base, adapter)  # type: ignore[return-value]
    part = {"full": "", "mlp": ".mlp.", "attention": ".self_attn."}[mode]
    for name, weight in base.named_parameters():
        weight.requires_grad_(part in name)
    return base


def _optimize(
    model: PreTrainedModel, batches: Iterator[tuple[Tensor, Tensor]], *, steps: int, peak: float
) -> None:
    import torch
    from torch.nn.functional import cross_entropy

    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=peak, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: pace(step, steps))
    model.train()
    for ids, labels in batches:
        logits = model(input_ids=ids, use_cache=False).logits
        loss = cross_entropy(
            logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
    model.eval()


def pace(step: int, steps: int) -> float:
    """Share of the peak learning rate at `step`: warm-up over a tenth, then linear to 0."""
    warm = max(1, steps // 10)
    return (step + 1) / warm if step < warm else (steps - step) / max(1, steps - warm)


def _round(model: PreTrainedModel) -> None:
    """Every trained weight replaced by its bfloat16 value, still held in float32."""
    import torch

    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.to(torch.bfloat16))
