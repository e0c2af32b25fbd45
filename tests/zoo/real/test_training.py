from dataclasses import replace

import torch
from torch.nn.functional import cross_entropy

from simmerge_hub.zoo.manifest import Manifest, load_folder
from simmerge_hub.zoo.real.codec import NANO, codec_for
from simmerge_hub.zoo.real.domains import find_task
from simmerge_hub.zoo.real.training import TARGETS, _lessons, answer_loss, train_text
from simmerge_hub.zoo.training import IGNORED, SpecialistSpec, tensors, threads


def _spec(**given) -> SpecialistSpec:
    fields = {"mode": "lora", "rank": 4, "targets": "mlp", "steps": 3, "learning_rate": 0.01}
    return SpecialistSpec(
        **{"base": "gemma", "task": "sum", "seed": 1, "batch": 4, **fields, **given}
    )


def _base(zoo: Manifest, dtype: torch.dtype = torch.float32):
    return load_folder(zoo.path("gemma"), dtype)


def test_the_loss_is_that_of_all_logits(tiny_text: Manifest) -> None:
    model = _base(tiny_text)
    codec = codec_for(tiny_text, "gemma")
    ids, labels = tensors(find_task("rag/code").examples("train", 6, seed=0), codec=codec)
    short = answer_loss(model, ids, labels)
    logits = model(input_ids=ids).logits[:, :-1].flatten(0, 1)
    whole = cross_entropy(logits, labels[:, 1:].flatten(), ignore_index=IGNORED)
    torch.testing.assert_close(short, whole, rtol=0.01, atol=0.01)
    short.backward()
    assert model.model.layers[0].mlp.up_proj.weight.grad.abs().sum() > 0


def test_texts_are_read_with_the_base_tokenizer(tiny_text: Manifest) -> None:
    codec = codec_for(tiny_text, "gemma")
    (example,) = find_task("instruct/json").examples("train", 1, seed=0)
    ids, labels = tensors([example], codec=codec)
    prompt, answer = codec.encode(example.prompt), codec.encode(example.answer)
    assert ids[0].tolist() == [2, *prompt, *answer, 1]
    assert labels[0][labels[0] != IGNORED].tolist() == [*answer, 1]
    assert (codec.start, codec.eos, codec.pad) == ((2,), 1, 0)
    assert codec_for(tiny_text, "gemma") != NANO
    plain = replace(codec, start=())  # a tokenizer that puts nothing before a text
    ids, labels = tensors([example], codec=plain)
    assert ids[0].tolist() == [*prompt, *answer, 1]
    assert labels[0].tolist() == [IGNORED] * len(prompt) + [*answer, 1]


def test_the_same_seed_trains_the_same_weights(tiny_text: Manifest) -> None:
    task, codec = find_task("math/arithmetic"), codec_for(tiny_text, "gemma")
    with threads(1):
        one, other, third = (
            train_text(_base(tiny_text, torch.bfloat16), task, _spec(seed=seed), codec)
            for seed in (1, 1, 2)
        )
    pairs = list(zip(one.parameters(), other.parameters(), strict=True))
    assert all(a.equal(b) for a, b in pairs)
    assert not all(a.equal(b) for a, b in zip(one.parameters(), third.parameters(), strict=True))


def test_only_the_adapter_moves_and_only_at_its_targets(tiny_text: Manifest) -> None:
    codec = codec_for(tiny_text, "gemma")
    before = dict(_base(tiny_text, torch.bfloat16).named_parameters())
    base = _base(tiny_text, torch.bfloat16)
    tuned = train_text(base, find_task("math/unit"), _spec(targets="attention"), codec)
    trained = {n for n, w in tuned.named_parameters() if w.requires_grad}
    assert trained and all(".self_attn." in n and "lora_" in n for n in trained)
    assert {n.split(".self_attn.")[1].split(".")[0] for n in trained} == set(TARGETS["attention"])
    assert any(bool(w.any()) for n, w in tuned.named_parameters() if "lora_B" in n)
    layer = base.model.layers[0].self_attn.q_proj.base_layer.weight  # type: ignore[union-attr]
    assert layer.equal(before["model.layers.0.self_attn.q_proj.weight"])


def test_parts_move_alone(tiny_text: Manifest) -> None:
    codec = codec_for(tiny_text, "gemma")
    before = dict(_base(tiny_text).named_parameters())
    spec = _spec(mode="mlp", rank=None, targets=None)
    tuned = train_text(_base(tiny_text), find_task("math/unit"), spec, codec)
    moved = {n for n, w in tuned.named_parameters() if not w.equal(before[n])}
    assert moved and all(".mlp." in name for name in moved)


def test_examples_of_like_length_share_a_batch(tiny_text: Manifest) -> None:
    codec = codec_for(tiny_text, "gemma")
    spec = _spec(steps=20, batch=6)
    batches = list(_lessons(find_task("instruct/repeat"), spec, codec))
    assert [len(ids) for ids, _ in batches] == [6] * 20
    padding = sum(int((ids == codec.pad).sum()) for ids, _ in batches)
    assert padding < 0.1 * sum(ids.numel() for ids, _ in batches)
    widths = [ids.shape[1] for ids, _ in batches]
    assert widths != sorted(widths)


def test_training_lowers_the_loss(tiny_text: Manifest) -> None:
    task, codec = find_task("instruct/repeat"), codec_for(tiny_text, "gemma")
    ids, labels = tensors(task.examples("evaluation", 16, seed=0), codec=codec)
    with torch.no_grad():
        before = answer_loss(_base(tiny_text), ids, labels)
    spec = _spec(mode="full", rank=None, targets=None, steps=40, learning_rate=0.005)
    model = train_text(_base(tiny_text), task, spec, codec)
    with torch.no_grad():
        after = answer_loss(model, ids, labels)
    assert after < 0.7 * before
