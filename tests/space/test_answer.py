"""What stands in the way of a plan is said model by model; nothing is downloaded for one."""

from dataclasses import replace
from pathlib import Path

import pytest

from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.errors import NoSafetensors
from simmerge_hub.localhub import Hub
from simmerge_hub.planning.ask.options import Sources
from simmerge_hub.planning.plan import plan
from simmerge_hub.space.answer import answer, look, refuse_pickles
from simmerge_hub.space.question import Question
from simmerge_hub.zoo.publish import publish
from tests import nano


def test_a_model_that_is_not_there_and_one_that_does_not_fit_are_told_apart(
    hub: Hub, org: str, tmp_path: Path
) -> None:
    publish(nano_folder(), org)
    nano.save(tmp_path / "other", nano.weights(vocabulary=40))
    names = (f"{org}/code", f"{org}/nothing", str(tmp_path / "other"), "no such name")
    seen = look(Question(models=names, base=f"{org}/base"))
    assert [model.name for model in seen.models] == [f"{org}/code", "other"]
    assert seen.base is not None
    assert seen.base.name == f"{org}/base"
    assert list(seen.misfits) == ["no such name", f"{org}/nothing", "other"]
    assert "there is no model" in seen.misfits[f"{org}/nothing"]


def test_what_is_published_decides_whether_behaviour_counts(
    hub: Hub, org: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is run: weights alone until all is signed, then all of it, and never a download."""
    from huggingface_hub.utils import _cache_assets

    from simmerge_hub.signatures.signing import signature

    publish(nano_folder(), org)
    asked = Question(models=(f"{org}/code", f"{org}/math"))
    with monkeypatch.context() as nothing_known:
        nothing_known.setattr(_cache_assets, "HF_ASSETS_CACHE", str(tmp_path))
        nothing_known.setattr(signature, "run_probes", None)
        first = answer(asked, lambda _: None)
    assert [task.probes for task in first.plan.why().tasks] == ["none", "none"]
    assert "has no published signature of what it does on code, math" in " ".join(first.notes)
    assert set(first.names) == {f"{org}/code", f"{org}/math"}
    plan(*asked.models, sources=Sources())  # in the cache that all tests share
    monkeypatch.setattr(signature, "run_probes", None)
    second = answer(asked, lambda _: None)
    assert all(task.digest for task in second.plan.why().tasks)
    assert not second.notes


@pytest.mark.parametrize("pickled", ["code", "base"])
def test_no_weights_are_downloaded_whole_unasked(
    hub: Hub, org: str, tmp_path: Path, pickled: str
) -> None:
    for name in ("base", "code", "math"):
        folder = nano.save(
            tmp_path / name, nano.weights(), card=f"---\nbase_model: {org}/base\n---\n"
        )
        if name == pickled:
            (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
        nano.push(folder, f"{org}/{name}")
    asked = Question(models=(f"{org}/code", f"{org}/math"), experts={"code": f"{org}/code"})
    with pytest.raises(NoSafetensors, match=f"{org}/{pickled} has its weights in .bin files"):
        answer(asked, lambda _: None)
    with pytest.raises(NoSafetensors):
        refuse_pickles(replace(asked, base=f"{org}/base", models=(f"{org}/{pickled}",)))
    refuse_pickles(
        replace(asked, models=(f"{org}/math", str(tmp_path / "code")), base=f"{org}/math")
    )
