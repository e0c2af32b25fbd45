"""Probe sets of ours and of the user; models that cannot be probed."""

import json
import re
from dataclasses import replace
from importlib import resources
from itertools import combinations

import pytest

from simmerge_hub.errors import ProbeError, SignatureError
from simmerge_hub.signatures.probing.probe import (
    PROBE_DOMAINS,
    PROMPTS,
    look_alike,
    probe_set,
    run_probes,
)
from simmerge_hub.signatures.signing.artifact import Settings


@pytest.mark.parametrize("domain", PROBE_DOMAINS)
def test_ours_are_many_different_unlabelled_prompts(domain):
    file = resources.files("simmerge_hub.signatures.probing") / "probes" / f"{domain}.jsonl"
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    prompts = [line["prompt"] for line in lines]
    assert all(line.keys() == {"prompt"} for line in lines)
    assert len(set(prompts)) == len(prompts) >= 64
    assert all(len(p.split()) >= 2 or len(p) > 8 for p in prompts)
    openings = {" ".join(re.split(r"\s+", p)[:3]) for p in prompts}
    assert len(openings) > len(prompts) / 4


@pytest.mark.parametrize("domain", PROBE_DOMAINS)
def test_ours_are_pinned_by_their_digest(domain):
    probes = probe_set(domain)
    assert (probes.task, probes.source) == (domain, f"simmerge-hub:{domain}")
    assert len(probes.prompts) == PROMPTS
    assert probes == probe_set(domain)
    assert probes.digest != probe_set(domain, limit=10).digest


def test_a_file(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "one"}\n{"prompt": "two"}\n{"prompt": "three"}\n')
    probes = probe_set("mine", str(path), limit=2)
    assert probes.prompts == ("one", "two")
    assert probes.source == "prompts.jsonl"


def test_an_unknown_task_without_prompts_is_refused():
    with pytest.raises(ProbeError, match="no probe set of ours for 'law'") as caught:
        probe_set("law")
    assert caught.value.hint.endswith("rag, instruct; or name a file, or org/dataset")


def test_a_model_without_tokenizer_is_refused(tiny, tmp_path, probes):
    from simmerge_hub.hub.resolve import resolve

    tiny.model_of("llama").save_pretrained(tmp_path / "bare")
    with pytest.raises(ProbeError, match="has no tokenizer"):
        run_probes(resolve(str(tmp_path / "bare")), None, [probes])


def test_progress_is_told(tiny, tmp_path, probes):
    told = []
    checkpoint = tiny.save(tiny.model_of("llama"), tmp_path / "model")
    probed = run_probes(checkpoint, None, [probes], progress=lambda *step: told.append(step))
    assert told == [("probing model with strings", 0, 1)]
    assert probed.tokens == sum(len(f"{prompt}<") for prompt in probes.prompts)  # `<bos>` is one
    assert 0 < probed.seconds < 60


def test_a_model_in_bin_files_behaves_like_its_twin(tiny, tmp_path, assets, probes):
    import torch

    from simmerge_hub.hub.resolve import resolve

    model = tiny.model_of("llama")
    twin = tiny.save(model, tmp_path / "twin")
    tiny.save(model, tmp_path / "old")
    (tmp_path / "old" / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "old" / "pytorch_model.bin")
    old = resolve(str(tmp_path / "old"))
    (first,), (second,) = (run_probes(c, None, [probes]).sketches.values() for c in (twin, old))
    assert (first.hidden == second.hidden).all()


def test_a_tokenizer_that_cannot_be_loaded_is_named(tiny, tmp_path, probes, monkeypatch):
    import transformers

    def missing(*_, **__):
        raise ImportError("\nneeds the SentencePiece library\nand more")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", missing)
    checkpoint = tiny.save(tiny.model_of("llama"), tmp_path / "model")
    with pytest.raises(SignatureError) as caught:
        run_probes(checkpoint, None, [probes])
    assert str(caught.value) == (
        "the tokenizer of model cannot be loaded: ImportError: needs the SentencePiece library"
    )
    assert caught.value.hint == "install the package it names, then try again"


def test_code_of_a_tokenizer_is_never_run_nor_asked_about(tiny, tmp_path, probes, monkeypatch):
    checkpoint = tiny.save(tiny.model_of("llama"), tmp_path / "model")
    file = tmp_path / "model" / "tokenizer_config.json"
    stated = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["code.Own", None]}}
    file.write_text(json.dumps(json.loads(file.read_text()) | stated))
    (tmp_path / "model" / "code.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')")
    asked = []
    monkeypatch.setattr("builtins.input", lambda *_: asked.append(1) or "y")
    with pytest.raises(SignatureError, match="the tokenizer of model cannot be loaded") as caught:
        run_probes(checkpoint, None, [probes])
    assert "its code is never run here" in caught.value.hint
    assert not asked
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("file", "text"), [("tokenizer_config.json", "[1]"), ("tokenizer.json", '{"a": 1}')]
)
def test_an_odd_tokenizer_is_named(tiny, tmp_path, probes, file, text):
    checkpoint = tiny.save(tiny.model_of("llama"), tmp_path / "model")
    (tmp_path / "model" / file).write_text(text)
    with pytest.raises(SignatureError, match="the tokenizer of model cannot be loaded"):
        run_probes(checkpoint, None, [probes])


@pytest.mark.parametrize("offload", [False, True], ids=["resident", "offloaded"])
def test_as_many_logits_are_made_at_a_time_as_memory_allows(
    tiny, tmp_path, probes, monkeypatch, offload
):
    from simmerge_hub.signatures.probing import forward
    from simmerge_hub.weights.loaded import memory

    checkpoint = tiny.save(tiny.model_of("llama"), tmp_path / "model")
    (whole,) = run_probes(checkpoint, None, [probes], offload=offload).sketches.values()
    asked = []
    real = forward.run

    def counting(model, layers, batch, entries):
        asked.append(entries)
        return real(model, layers, batch, entries)

    monkeypatch.setattr(forward, "run", counting)
    monkeypatch.setattr(memory, "free_memory", lambda *_: 2**15)
    (small,) = run_probes(checkpoint, None, [probes], offload=offload).sketches.values()
    assert asked == [2**10]  # ten positions of a vocabulary of 96
    for name in ("logprobs", "entropy", "loss", "hidden"):
        far = abs(getattr(small, name) - getattr(whole, name)).max()
        assert far <= Settings().floor * abs(getattr(whole, name)).max()
    assert abs(small.attention - whole.attention).max() <= 1e-3


def test_prompts_by_one_template_look_alike_and_others_do_not():
    """Halves of every probe set there is: no prompt is in two, but those of rag share passages."""
    folder = resources.files("simmerge_hub.zoo") / "nano" / "probes"
    halves = {}
    for task in PROBE_DOMAINS:
        for kind, source in {"nano": str(folder / f"{task}.jsonl"), "ours": None}.items():
            whole = probe_set(task, source)
            for start in (0, 1):
                half = replace(whole, prompts=whole.prompts[start::2])
                halves[f"{kind} {task} {start}"] = [half]
    alike = {pair for pair in combinations(halves, 2) if pair[0][:-1] == pair[1][:-1]}
    templates = {pair for pair in alike if pair[0].startswith(("nano", "ours rag"))}
    assert set(look_alike(halves)) == templates


def test_the_same_prompts_look_alike():
    assert look_alike({n: [probe_set("math")] for n in "abc"}) == [*combinations("abc", 2)]
    short = replace(probe_set("math"), prompts=("2+2", "1+1"))
    assert look_alike({"a": [short], "b": [short]}) == [("a", "b")]
    assert look_alike({"a": [short], "b": [probe_set("code")]}) == []
