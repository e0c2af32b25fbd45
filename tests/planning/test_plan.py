"""What a plan refuses, and what it reads."""

import shutil
from pathlib import Path

import pytest

from simmerge_hub.cli.zoo import packaged
from simmerge_hub.errors import AlignmentError, ProbeError
from simmerge_hub.hub.resolve import resolve
from simmerge_hub.localhub import Hub
from simmerge_hub.planning.plan import plan
from simmerge_hub.planning.tasks import tasks_of
from simmerge_hub.recipe import parse
from simmerge_hub.zoo.publish import publish

CODE, MATH, BASE = (str(packaged() / name) for name in ("code", "math", "base"))
EXPERTS = {"code": "code", "math": "math"}


@pytest.mark.parametrize(
    ("models", "base", "message"),
    [
        ((CODE,), None, "takes two models, and 1 are given"),
        ((CODE, MATH, BASE), None, "takes two models, and 3 are given"),
        ((CODE, CODE), None, "given twice: there is nothing to merge"),
        ((BASE, CODE), BASE, "the base of the other: there is nothing to merge"),
    ],
)
def test_models_that_make_no_pair(models: tuple[str, ...], base: str | None, message: str) -> None:
    with pytest.raises(AlignmentError, match=message):
        plan(*models, base=base, experts=EXPERTS)


def test_two_folders_of_one_name_are_told_apart_in_words(tmp_path: Path) -> None:
    other = tmp_path / "code"
    shutil.copytree(MATH, other)
    with pytest.raises(AlignmentError, match="are both called code"):
        plan(CODE, str(other), base=BASE, experts=EXPERTS)


def test_an_expert_may_be_named_as_it_was_given(tmp_path: Path) -> None:
    models = [resolve(CODE), resolve(MATH)]
    tasks, _ = tasks_of(models, {"code": CODE, "math": "math"})
    assert {t.name: t.expert for t in tasks} == EXPERTS
    with pytest.raises(ProbeError, match="not among the models"):
        tasks_of(models, {"code": str(tmp_path)})


def test_structural_signals_download_no_weights(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    from simmerge_hub.hub import ranges
    from simmerge_hub.signatures import signature

    publish(packaged(), "nano")
    fetched: list[str] = []
    download = ranges.local_file

    def watched(location: ranges.Location, file: str) -> Path:
        fetched.append(file)
        return download(location, file)

    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path))
    monkeypatch.setattr(ranges, "local_file", watched)
    monkeypatch.setattr("simmerge_hub.hub.resolve.local_file", watched)
    monkeypatch.setattr(signature, "run_probes", None)
    made = plan("nano/code", "nano/rag-lora", signals="structural")
    assert fetched
    assert not [name for name in fetched if name.endswith(".safetensors")]
    recipe, why = parse(made.to_yaml(), "the plan")
    assert recipe == made.recipe
    assert [t["probes"] for t in why["tasks"]] == ["none", "none"]
