"""Specialists of a real language model: answers only, a short loss, half precision in between.

The vocabulary is most of such a model, so the head sees only the positions that an answer stands
at. Matrices are multiplied in bfloat16 where the processor does that (`zoo.real.precision`), what
is trained is kept in float32, and what leaves is rounded to bfloat16 when it is saved. Training
stops on steps, never on time.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any

from simmerge_hub.zoo.real.codec import Codec
from simmerge_hub.zoo.real.precision import running_dtype
from simmerge_hub.zoo.tasks import Example, Task, examples
from simmerge_hub.zoo.training import IGNORED, PROJECTIONS, SpecialistSpec, pace, tensors

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

POOL = 8
"""Batches that are drawn together, so that examples of like length share one."""
TARGETS = {"all": PROJECTIONS, "attention": PROJECTIONS[:4], "mlp": PROJECTIONS[4:]}
TRAINED_MODULES = {"full": "", "mlp": ".mlp.", "attention": ".self_attn."}


def train_text(
    base: PreTrainedModel, task: Task, spec: SpecialistSpec, codec: Codec
) -> PreTrainedModel:
    """`base` after it learned `task`; `base` itself is used up.

    Args:
        base: in `running_dtype()` for mode `lora`, in float32 otherwise.
        task: in natural language.
        spec: how; `replay` is not for a base whose own training data nobody here has.
        codec: of the base.

    Returns:
        The model, or for mode `lora` a `PeftModel` whose adapter is the result.
    """
    import torch

    torch.manual_seed(spec.seed)
    trained = _select(base, spec)
    _optimize(base, _lessons(task, spec, codec), spec)
    return trained


def _select(base: PreTrainedModel, spec: SpecialistSpec) -> PreTrainedModel:
    """`base` with only the weights that the mode moves left trainable; adapters are put into it."""
    if spec.mode == "lora":
        assert spec.rank and spec.targets  # the catalogue checked it
        from peft import LoraConfig, get_peft_model

        adapter = LoraConfig(
            r=spec.rank,
            lora_alpha=2 * spec.rank,
            target_modules=TARGETS[spec.targets],
            task_type="CAUSAL_LM",
        )
        return get_peft_model(base, adapter)  # type: ignore[return-value]
    for name, weight in base.named_parameters():
        weight.requires_grad_(TRAINED_MODULES[spec.mode] in name)
    return base


def _optimize(base: Any, batches: Iterator[tuple[Tensor, Tensor]], spec: SpecialistSpec) -> None:
    import torch

    weights = [weight for weight in base.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(
        weights, lr=spec.learning_rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: pace(step, spec.steps))
    base.train()
    for ids, labels in batches:
        loss = answer_loss(base, ids, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
    base.eval()


def answer_loss(model: Any, ids: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over the labelled positions; no other position reaches the head.

    Args:
        model: a causal language model with a backbone `model` and a head `lm_head`.
        ids, labels: int64 [rows, tokens], as `tensors` gives them.
    """
    import torch
    from torch.nn.functional import cross_entropy

    wanted = labels[:, 1:]
    kept = wanted != IGNORED
    half = running_dtype() == torch.bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
        logits = model.lm_head(hidden[kept])
    return cross_entropy(logits.float(), wanted[kept])


def _lessons(task: Task, spec: SpecialistSpec, codec: Codec) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of like lengths: a pool is drawn, sorted, cut and dealt out in random order."""
    stream = examples(task.draw, "train", seed=f"lessons {spec.seed}")
    random = Random(f"pools {spec.seed}")
    for first in range(0, spec.steps, POOL):
        count = min(POOL, spec.steps - first)
        pool = sorted(islice(stream, count * spec.batch), key=_length)
        cuts = [pool[i * spec.batch : (i + 1) * spec.batch] for i in range(count)]
        random.shuffle(cuts)
        yield from (tensors(cut, codec=codec) for cut in cuts)


def _length(example: Example) -> int:
    return len(example.prompt) + len(example.answer)
