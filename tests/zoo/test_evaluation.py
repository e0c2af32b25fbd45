import pytest
import torch

from simmerge_hub.zoo.evaluation import Exam, evaluate, exam, mean
from simmerge_hub.zoo.manifest import Manifest, load_model
from simmerge_hub.zoo.tasks import task
from simmerge_hub.zoo.tokenizer import BOS, EOS, PAD, encode


def test_exact_match_is_what_greedy_decoding_gives(nano: Manifest) -> None:
    known = task(*nano.tasks["math"].split("/"))
    examples = known.examples("evaluation", 16, seed=3)
    model = load_model(nano, "math")
    shares = []
    for size in (0.0, 0.2, 0.3, 0.5):
        _shake(model, size)
        written = [_greedy(model, e.prompt) == [*encode(e.answer), EOS] for e in examples]
        shares.append(sum(written) / len(written))
        assert mean(evaluate(model, exam(known, 16, seed=3)).exact_match) == shares[-1]
    assert any(0 < share < 1 for share in shares)


def _shake(model: torch.nn.Module, size: float) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * size * weight.std())


def _greedy(model, prompt: str) -> list[int]:
    ids = torch.tensor([[BOS, *encode(prompt)]])
    out = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=8,
        do_sample=False,
        pad_token_id=PAD,
    )
    return out[0, ids.shape[1] :].tolist()


def test_scores_of_a_hand_made_model() -> None:
    # answers 5 6 | 5 7 | 5 6 | 8: the model always predicts 5 and then 6
    labels = torch.tensor([[-100, 5, 6], [-100, 5, 7], [-100, 5, 6], [-100, 8, -100]])
    ids = labels.clamp(min=0)
    score = evaluate(_Fixed(), Exam(ids=ids, labels=labels))  # type: ignore[arg-type]
    assert score.exact_match == (1.0, 0.0)
    assert score.token_accuracy == (1.0, 0.25)


class _Fixed:
    """Its hidden states are logits already."""

    lm_head = torch.nn.Identity()

    def model(self, input_ids: torch.Tensor, use_cache: bool):
        logits = torch.zeros(*input_ids.shape, 10)
        logits[:, 0, 5] = 1.0
        logits[:, 1:, 6] = 1.0
        return type("Output", (), {"last_hidden_state": logits})


def test_likelihoods_are_those_of_a_whole_forward_pass(nano: Manifest) -> None:
    """However prompts are grouped: more than one group, of different lengths."""
    model, known = load_model(nano, "code"), task(*nano.tasks["instruct"].split("/"))
    taken = exam(known, 80)
    with torch.no_grad():
        logits = model(input_ids=taken.ids).logits[:, :-1].log_softmax(-1)
    wanted = taken.labels[:, 1:]
    chosen = logits.gather(2, wanted.clamp(min=0)[..., None])[..., 0]
    each = (chosen * (wanted >= 0)).sum(1) / (wanted >= 0).sum(1)
    score = evaluate(model, taken)
    assert len({int((row >= 0).sum()) for row in wanted}) > 1
    assert score.log_likelihood == pytest.approx(
        (float(each[::2].mean()), float(each[1::2].mean())), abs=2e-4
    )
    assert score.nll == pytest.approx(-float(each.mean()), abs=2e-4)


def test_an_exam_is_never_trained_on() -> None:
    known = task("rag", "last")
    taken = exam(known, 30)
    asked = {tuple(row[row != PAD].tolist()) for row in taken.ids}
    taught = {
        (BOS, *encode(e.prompt), *encode(e.answer), EOS)
        for e in known.examples("train", 200, seed=0)
    }
    assert not asked & taught
