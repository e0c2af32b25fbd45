import torch

from simmerge_hub.zoo.tasks import task
from simmerge_hub.zoo.tokenizer import EOS, PAD
from simmerge_hub.zoo.training import (
    IGNORED,
    BaseSpec,
    SpecialistSpec,
    pace,
    tensors,
    threads,
    train_base,
    train_specialist,
)

TINY = BaseSpec(seed=5, steps=2, hidden=32, layers=2, heads=2, intermediate=48, batch=8)


def _spec(mode: str, seed: int = 1) -> SpecialistSpec:
    return SpecialistSpec(
        base="base",
        task="code",
        mode=mode,
        learning_rate=1e-2,
        steps=2,
        seed=seed,
        batch=8,  # type: ignore[arg-type]
    )


def test_labels_are_answers_only_unless_asked() -> None:
    batch = task("instruct", "dash").examples("train", 4, seed=0)
    ids, labels = tensors(batch)
    for example, row, wanted in zip(batch, ids, labels, strict=True):
        asked = wanted != IGNORED
        assert int(asked.sum()) == len(example.answer) + 1
        assert row[asked].equal(wanted[asked])
        assert int(wanted[asked][-1]) == EOS
    _, everything = tensors(batch, prompts=True)
    assert (everything[:, 0] == IGNORED).all()
    assert (everything[:, 1:] != IGNORED).equal(ids[:, 1:] != PAD)


def test_the_same_seed_trains_the_same_weights() -> None:
    with threads(1):
        first, second = train_base(TINY), train_base(TINY)
        learned = [
            train_specialist(model, task("code", "sort-reverse"), _spec("full"))
            for model in (first, second)
        ]
    for one, other in zip(*(model.parameters() for model in learned), strict=True):
        assert one.equal(other)
        assert one.equal(one.to(torch.bfloat16).float())


def test_modes_move_only_their_part() -> None:
    parts = {"mlp": ".mlp.", "attention": ".self_attn."}
    for mode, part in parts.items():
        model = train_base(TINY)
        before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
        after = dict(
            train_specialist(model, task("code", "sort-reverse"), _spec(mode)).named_parameters()
        )
        moved = {name for name, weight in before.items() if not weight.equal(after[name])}
        assert moved
        assert all(part in name for name in moved)


def test_lora_leaves_the_base_alone() -> None:
    model = train_base(TINY)
    before = model.model.layers[0].mlp.up_proj.weight.detach().clone()
    tuned = train_specialist(model, task("code", "sort-reverse"), _spec("lora"))
    assert hasattr(tuned, "peft_config")
    names = [name for name, weight in tuned.named_parameters() if weight.requires_grad]
    assert names
    assert all("lora_" in name for name in names)
    assert before.equal(tuned.base_model.model.model.layers[0].mlp.up_proj.base_layer.weight)


def test_thepace_warms_up_and_ends_low() -> None:
    paces = [pace(step, 50) for step in range(50)]
    assert max(paces) == 1.0
    assert paces[0] == 0.2
    assert paces[-1] < 0.03


def test_threads_are_restored() -> None:
    before = torch.get_num_threads()
    with threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
