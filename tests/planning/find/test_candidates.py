"""From a catalogue to checkpoints that can be merged: what is kept, and why the others are not."""

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from simmerge_hub.errors import AlignmentError, BaseUnknown, HubError
from simmerge_hub.hub import listing as hub
from simmerge_hub.planning.find import candidates
from simmerge_hub.planning.find.candidates import Candidates, group_reasons, sift, spell_reason
from tests import nano
from tests.catalogues import Catalogue


@pytest.fixture
def made(org: str, tmp_path: Path) -> Catalogue:
    return Catalogue(org, tmp_path)


def sifted(made: Catalogue, base: str | None = None) -> Candidates:
    return sift(hub.collection(made.slug), base, progress=lambda _: None)


def names(fitting: Candidates) -> list[str]:
    return [model.name.partition("/")[2] for model in fitting.kept]


def test_every_candidate_is_kept_or_has_a_reason(made: Catalogue, tmp_path: Path) -> None:
    made.files("gguf", model_gguf="x")
    made.model("code", humaneval=0.9)
    made.files("empty")
    made.files("pickle", pytorch_model_bin="x", config_json="{}")
    other = nano.save(
        tmp_path / "wide", nano.weights(vocabulary=24), card=made.card(), tokenizer=False
    )
    made.put("wide", other)
    made.model("stranger", card=made.card(base="else/where"))
    quantised = {**nano.CONFIG, "quantization_config": {"quant_method": "gptq"}}
    made.put("gptq", nano.save(tmp_path / "q", made.weights, config=quantised, card=made.card()))
    closed = made.model("gated")
    HfApi().update_repo_settings(closed, gated="manual")
    made.model("math", gsm8k=0.9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_TOKEN", "hf_visitor")
        fitting = sifted(made)
    assert names(fitting) == ["code", "math"]
    assert fitting.base.name == made.base
    reasons = {name.partition("/")[2]: reason for name, reason in fitting.dropped.items()}
    assert set(reasons) == {"gguf", "empty", "pickle", "wide", "stranger", "gptq", "gated"}
    assert reasons["gguf"] == "has no safetensors weights (it has model.gguf)"
    assert reasons["pickle"] == "has its weights in .bin files, and no safetensors"
    assert reasons["wide"].startswith("the vocabularies differ, and")
    assert reasons["stranger"] == "was made from another base, else/where"
    assert "gptq" in reasons["gptq"]
    assert reasons["gated"] == "is gated, and this account has no access yet"


def test_equal_weights_are_taken_once_and_with_scores(made: Catalogue, tmp_path: Path) -> None:
    made.model("copy", 1)
    made.model("original", 1, gsm8k=0.9)
    made.model("other", 2)
    made.put("base-again", nano.save(tmp_path / "again", made.weights, card=made.card()))
    fitting = sifted(made)
    assert names(fitting) == ["original", "other"]
    assert fitting.dropped == {
        f"{made.org}/copy": f"has the same weights as {made.org}/original",
        f"{made.org}/base-again": f"has the weights of {made.base} itself",
    }


def test_adapters_are_candidates(made: Catalogue, tmp_path: Path) -> None:
    made.model("code")
    for alpha in (4, 4, 8):
        name = f"lora-{alpha}-{len(list(tmp_path.glob('lora*')))}"
        made.put(name, nano.lora(tmp_path / name, base=made.base, lora_alpha=alpha))
    fitting = sifted(made)
    assert names(fitting) == ["code", "lora-4-0", "lora-8-2"]


def test_a_named_base_is_not_a_candidate(made: Catalogue) -> None:
    made.model("a")
    made.model("b")
    fitting = sifted(made, made.base)
    assert names(fitting) == ["a", "b"]
    assert fitting.dropped == {}


def test_cards_that_name_no_base(made: Catalogue) -> None:
    for name in "ab":
        made.model(name, card="---\nlicense: mit\n---\n")
    with pytest.raises(
        BaseUnknown, match=r"no card in the collection .* names the model"
    ) as caught:
        sifted(made)
    assert caught.value.hint == "name it: --base org/base, or `base: org/base` in a recipe"
    assert names(sifted(made, made.base)) == ["a", "b"]


def test_two_bases_named_as_often(made: Catalogue) -> None:
    made.model("a")
    made.model("b", card=made.card(base="else/where"))
    with pytest.raises(BaseUnknown, match="as many models are made from"):
        sifted(made)


def test_a_base_that_cannot_be_read(made: Catalogue) -> None:
    for name in "ab":
        made.model(name, card=made.card(base="else/where"))
    with pytest.raises(BaseUnknown, match=r"most of the collection .* are made from else/where"):
        sifted(made)


def test_fewer_than_two_are_left(made: Catalogue) -> None:
    made.model("only")
    for number in range(8):
        made.files(f"gguf-{number}", model_gguf="x")
    with pytest.raises(AlignmentError) as caught:
        sifted(made)
    first, reason = str(caught.value).split("\n")
    assert first == f"two models make a merge, and of the collection {made.slug} only " + (
        f"{made.org}/only is left"
    )
    assert reason.endswith("and 2 more: has no safetensors weights (it has model.gguf)")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (HubError("{repo}: the Hub refused a request"), "the Hub refused a request"),
        (PermissionError("no"), "cannot be read (PermissionError)"),
    ],
    ids=["ours", "of a file"],
)
@pytest.mark.parametrize("step", ["resolve", "align_strict"])
def test_what_breaks_on_one_does_not_end_the_others(
    made: Catalogue, step: str, error: Exception, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        made.model(name)
    text = str(error).format(repo=f"{made.org}/b")
    fail(step, type(error)(text), monkeypatch)
    fitting = sifted(made, made.base)
    assert names(fitting) == ["a", "c"]
    assert fitting.dropped == {f"{made.org}/b": reason}


@pytest.mark.parametrize("step", ["resolve", "card_mismatch", "align_strict", "weights_of"])
def test_a_bug_of_ours_is_no_fault_of_a_repository(
    made: Catalogue, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        made.model(name)
    fail(step, TypeError("a bug"), monkeypatch)
    with pytest.raises(TypeError, match="a bug"):
        sifted(made, made.base)


def fail(step: str, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a step end in an error for the repository `b`, and for no other."""
    work = getattr(candidates, step)

    def broken(first: Any, *rest: Any, **options: Any) -> Any:
        one = first[0] if isinstance(first, list) else first
        if getattr(one, "name", "").endswith("/b"):
            raise error
        return work(first, *rest, **options)

    monkeypatch.setattr(candidates, step, broken)


def test_reasons_are_safe_to_print() -> None:
    assert spell_reason("org/a is \x1b[31mred\x9b2J\n", "org/a") == "is  [31mred 2J "
    assert len(spell_reason("x" * 5000)) == 300
    assert group_reasons({"a": "r", "b": "s", "c": "r"}) == {"r": ["a", "c"], "s": ["b"]}
