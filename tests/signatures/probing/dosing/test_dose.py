"""Answers read at parts of a delta: ends that are the models' own, adapters, files and memory."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from simmerge_hub.hub.resolve import resolve
from simmerge_hub.signatures.probing.answers import continue_greedily
from simmerge_hub.signatures.probing.dosing import dose
from simmerge_hub.signatures.probing.dosing.between import models_between
from simmerge_hub.signatures.probing.dosing.dose import (
    measure_responses,
    read_probes,
    score_answers,
)
from simmerge_hub.signatures.probing.dosing.response import ANSWER_TOKENS, DOSES
from simmerge_hub.signatures.probing.head import run_to_head
from simmerge_hub.signatures.probing.loading import open_model
from simmerge_hub.weights.alignment.line import why_apart
from simmerge_hub.weights.loaded import memory
from tests import nano
from tests.activations import random_model
from tests.signatures.probing.test_loading import adapter
from tests.signatures.probing.test_offload import rewrite

TASK = "strings"
SHARES = (0.0, 0.5, 1.0)


def own_scores(checkpoint, base, probes, answers_of):
    """What a model, loaded as ever, makes of the answers of another."""
    ids = read_probes((checkpoint, base), [probes])[TASK]
    with open_model(*answers_of) as model:
        answered = continue_greedily(model, ids, ANSWER_TOKENS)
    with open_model(checkpoint, base) as model:
        return score_answers(model, ids, answered, 2**25)


@pytest.fixture(scope="module")
def response(family):
    expert, base = family.checkpoints["expert"], family.checkpoints["base"]
    return measure_responses(expert, base, [family.probes], origin="b")[TASK]


def test_the_ends_are_the_models_own_to_the_last_bit(family, response):
    expert, base = family.checkpoints["expert"], family.checkpoints["base"]
    for checkpoint, s in ((base, 0.0), (expert, 1.0)):
        kept, logliks = own_scores(checkpoint, None, family.probes, (expert, None))
        assert np.array_equal(response.logliks[DOSES.index(s)], logliks)
        assert np.array_equal(response.kept[DOSES.index(s)], kept)


def test_answers_are_what_the_model_writes(family, response):
    expert = family.checkpoints["expert"]
    ids = read_probes((expert, None), [family.probes])[TASK]
    with open_model(expert) as model:
        answered = continue_greedily(model, ids, ANSWER_TOKENS)
    bounds = np.cumsum(response.lengths)[:-1]
    answers = [tuple(part) for part in np.split(response.answers, bounds)]
    assert answers == [full[len(i) :] for i, full in zip(ids, answered, strict=True)]
    assert (response.probes, response.base) == (family.probes.digest, "b")
    assert response.doses.tolist() == pytest.approx(DOSES)
    assert response.kept[DOSES.index(1.0)].mean() > 0.95


def test_a_log_likelihood_is_that_of_the_token_after_what_stands_before_it(family, response):
    expert = family.checkpoints["expert"]
    ids = read_probes((expert, None), [family.probes])[TASK]
    begin, length = response.lengths[:2].sum(), response.lengths[2]
    answer = response.answers[begin : begin + length].tolist()
    with open_model(expert) as model, torch.no_grad():
        logits = model(torch.tensor([[*ids[2], *answer]])).logits[0]
    wanted = [
        float(logits[len(ids[2]) - 1 + i].log_softmax(-1)[token]) for i, token in enumerate(answer)
    ]
    told = response.logliks[DOSES.index(1.0), begin : begin + length]
    assert told == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("architecture", ["llama-tied", "gemma3", "gpt2", "mixtral"])
def test_by_layers_is_as_in_memory(tiny, tmp_path, probes, architecture):
    base = tiny.save(tiny.model_of(architecture), tmp_path / "base")
    tuned = tiny.save(tiny.perturb(tiny.model_of(architecture), 0.1, 1), tmp_path / "tuned")
    one, other = (
        measure_responses(tuned, base, [probes], offload=offload)[TASK] for offload in (False, True)
    )
    assert np.array_equal(one.answers, other.answers)
    assert other.logliks == pytest.approx(one.logliks, abs=2e-3)
    assert (one.kept != other.kept).mean() < 0.02


@pytest.mark.parametrize("offload", [False, True])
def test_an_adapter_is_as_the_full_model_it_folds_to(tiny, tmp_path, probes, offload):
    base = tiny.save(tiny.model_of("llama"), tmp_path / "base")
    lora = adapter(base, tmp_path / "lora", target_modules=["q_proj", "down_proj"], lora_alpha=2)
    with open_model(lora, base) as model:
        folded = tiny.save(model, tmp_path / "folded")
    one = measure_responses(lora, base, [probes], offload=offload)[TASK]
    other = measure_responses(folded, base, [probes], offload=offload)[TASK]
    assert np.array_equal(one.answers, other.answers)
    assert one.logliks == pytest.approx(other.logliks, abs=2e-3)


def test_between_lies_the_weighted_sum(family):
    base, expert = family.checkpoints["base"], family.checkpoints["expert"]
    with open_model(base) as low, open_model(expert) as high:
        name = "model.layers.1.mlp.up_proj.weight"
        start, end = (m.get_parameter(name).detach().clone() for m in (low, high))
    shares = (0.3, 1.5)
    for model, share in zip(
        models_between((base, None), (expert, None), shares), shares, strict=True
    ):
        between = model.get_parameter(name).detach()
        assert between == pytest.approx(start + share * (end - start), abs=1e-6)


@pytest.mark.parametrize("offload", [False, True])
def test_what_is_stored_and_no_parameter_moves_too(tiny, tmp_path, offload):
    """Of DeepSeek's routers a correction, which decides on the experts of a token."""
    ends, name = [], "model.layers.1.mlp.gate.e_score_correction_bias"
    for end in range(2):
        model = random_model("deepseek-v3")
        model.get_buffer(name).copy_(torch.arange(4.0) * end)
        ends.append((tiny.save(model, tmp_path / str(end)), None))
    shares = (0.0, 0.25)
    for model, share in zip(models_between(*ends, shares, offload=offload), shares, strict=True):
        assert model.get_buffer(name).tolist() == [share * i for i in range(4)]


@pytest.mark.parametrize("offload", [False, True])
@pytest.mark.parametrize("apart", [0, 1])
def test_a_head_of_its_own_at_one_end(tiny, tmp_path, apart, offload):
    """The other end's is the embedding; between them is a head that neither has."""
    ends, heads = [], []
    for end in range(2):
        checkpoint = tiny.save(tiny.model_of("llama-tied", end), tmp_path / str(end))
        stored = load_file(tmp_path / str(end) / "model.safetensors")
        heads.append(stored["model.embed_tokens.weight"] + (end == apart))
        ends.append((rewrite(checkpoint, {**stored, "lm_head.weight": heads[end]}), None))
    states = torch.randn(1, 3, 32)
    for share, model in zip(SHARES, models_between(*ends, SHARES, offload=offload), strict=True):
        head = heads[0].lerp(heads[1], share)
        with torch.no_grad():
            logits = model.get_output_embeddings()(states)
        torch.testing.assert_close(logits, states @ head.T, rtol=0, atol=1e-5)


def test_little_memory_means_by_layers(family, monkeypatch):
    base, expert = family.checkpoints["base"], family.checkpoints["expert"]
    size = memory.model_bytes(expert, None, "float32")
    for free, device in ((4 * size, "cpu"), (3 * size, "meta")):
        monkeypatch.setattr(memory, "free_memory", lambda *_, free=free: free)
        (model,) = models_between((base, None), (expert, None), [0.5])
        del model
        models = models_between((base, None), (expert, None), [0.5])
        assert next(models).lm_head.weight.device.type == device
        models.close()


def test_models_of_other_tensors_have_no_line_between_them(tmp_path):
    base, wide, grown, bare, moved = (tmp_path / n for n in ("base", "wide", "grown", "bare", "x"))
    rows = nano.VOCABULARY
    nano.model(base)
    for folder in (grown, bare, moved):
        nano.save(folder, nano.weights(vocabulary=rows + 1), tokenizer=folder != bare)
    (grown / "tokenizer.json").write_text(nano.words(rows, "<|im_end|>"))
    (moved / "tokenizer.json").write_text(nano.words(rows + 1).replace('"w3": 3', '"other": 3'))
    wider = {n: torch.cat([t, t]) for n, t in nano.weights().items()}
    nano.save(wide, wider, config=nano.CONFIG)
    reasons = [why_apart((resolve(str(base)), None), (resolve(str(f)), None))
               for f in (base, grown, wide, bare, moved)]  # fmt: skip
    assert reasons == [
        "", "", "lm_head.weight is not of one shape in base and wide",
        "nothing says that bare only added tokens to those of base",
        "nothing says that x only added tokens to those of base",
    ]  # fmt: skip
    back = why_apart((resolve(str(grown)), None), (resolve(str(base)), None))
    assert back == "lm_head.weight is not of one shape in grown and base"


@pytest.mark.parametrize("offload", [False, True])
def test_rows_of_added_tokens_are_the_models_own_at_every_share(tmp_path, offload):
    rows = nano.VOCABULARY
    base, grown = nano.model(tmp_path / "base"), tmp_path / "grown"
    nano.save(grown, nano.weights(1, vocabulary=rows + 2))
    (grown / "tokenizer.json").write_text(nano.words(rows, "<|im_start|>", "<|im_end|>"))
    ends = [(resolve(str(folder)), None) for folder in (base, grown)]
    low, high = (nano.load(folder) for folder in (base, grown))
    wanted = {n: t.clone() for n, t in high.items()}
    for name, tensor in wanted.items():
        tensor[: len(low[name])] = low[name].lerp(tensor[: len(low[name])], 0.3)
    folder = nano.save(tmp_path / "wanted", wanted)
    shutil.copy(grown / "tokenizer.json", folder)
    ids = torch.tensor([[1, 2, rows, rows + 1]])
    models = models_between(*ends, [0.3], offload=offload)
    with open_model(resolve(str(folder))) as right, torch.no_grad():
        runs = [run_to_head(m, ids, torch.ones_like(ids)) for m in (right, next(models))]
        one, other = (run.logits(run.states) for run in runs)
    models.close()
    assert other.shape[-1] == rows + 2
    assert one == pytest.approx(other, abs=1e-4)


def test_prompts_without_room_for_an_answer_have_none(tiny, tmp_path, probes, monkeypatch):
    base = tiny.save(tiny.model_of("llama"), tmp_path / "base")
    tuned = tiny.save(tiny.perturb(tiny.model_of("llama"), 0.1, 1), tmp_path / "tuned")
    monkeypatch.setattr(dose, "ANSWER_TOKENS", 0)
    response = measure_responses(tuned, base, [probes])[TASK]
    assert response.lengths.tolist() == [0] * len(probes.prompts)
    assert response.logliks.shape == (len(DOSES), 0)


def test_logits_of_answers_are_made_a_few_at_a_time(family, response):
    expert = family.checkpoints["expert"]
    ids = read_probes((expert, None), [family.probes])[TASK]
    with open_model(expert) as model:
        answered = continue_greedily(model, ids, ANSWER_TOKENS)
        made = []
        model.lm_head.register_forward_hook(lambda *given: made.append(given[-1].shape[1]))
        _, logliks = score_answers(model, ids, answered, 96 * 3)
    assert max(made) == 3 and sum(made) == response.lengths.sum()
    assert logliks == pytest.approx(response.logliks[DOSES.index(1.0)], abs=1e-4)
