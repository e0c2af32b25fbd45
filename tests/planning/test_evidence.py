"""Signatures of all models and the base; probes only where they are wanted."""

from pathlib import Path

import numpy as np
import pytest

from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.operators import FED_ARMS, arm
from simmerge_hub.planning.ask.options import Sources, Tasks
from simmerge_hub.planning.evidence import (
    SAME_PROMPTS,
    WITHOUT_PROMPTS,
    prompts_by_model,
    sign_all,
    why_unfed,
)
from simmerge_hub.planning.inputs import pin
from simmerge_hub.planning.tree import join, leaf, recipe_of
from simmerge_hub.recipe.calibration import Prompts
from simmerge_hub.signatures.features.vector import FEATURE_NAMES, names_of

CODE, MATH, BASE = (str(nano_folder() / name) for name in ("code", "math", "base"))
TASKS = Tasks(experts={"code": "code", "math": "math"})


def test_structural_signals_run_no_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.utils import _cache_assets

    monkeypatch.setattr(_cache_assets, "HF_ASSETS_CACHE", str(tmp_path))
    said: list[str] = []
    evidence = sign_all(
        pin([CODE, MATH], BASE, TASKS),
        Sources(signals="structural"),
        progress=said.append,
        note=None,
    )
    assert evidence.probes == {}
    assert evidence.base is evidence.signatures["base"]
    assert list(evidence.signatures) == ["code", "math", "base"]
    assert not any(signature.sketches for signature in evidence.signatures.values())
    assert [list(parts) for parts in evidence.origins.values()] == [["weights"]] * 3
    assert {f"signing {name}" for name in ("code", "math", "base")} <= set(said)


def test_full_signals_run_the_probes_of_every_task() -> None:
    evidence = sign_all(pin([CODE, MATH], None, TASKS), Sources(), progress=print, note=None)
    assert list(evidence.probes) == ["code", "math"]
    assert evidence.base is None
    for signature in evidence.signatures.values():
        assert set(signature.sketches) == {"code", "math"}


def test_each_model_is_fed_the_prompts_it_is_the_expert_for(tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("one two three\nfour five six\n")
    asked = Tasks(experts=TASKS.experts, probes={"math": str(mine)})
    inputs = pin([CODE, MATH], BASE, asked)
    evidence = sign_all(inputs, Sources(), progress=print, note=None)
    prompts = prompts_by_model(inputs, evidence)
    digests = {task: probes.digest for task, probes in evidence.probes.items()}
    assert prompts == {
        "code": (Prompts(source="simmerge-hub:code", digest=digests["code"]),),
        "math": (Prompts(source=str(mine), digest=digests["math"]),),
    }
    tree = join(FED_ARMS[0], leaf("code"), leaf("math"))
    recipe = recipe_of(tree, inputs.models, inputs.base, prompts)
    assert recipe.calibration is not None and recipe.calibration.prompts == prompts
    plain = recipe_of(join(arm("linear"), *tree.parts), inputs.models, inputs.base, prompts)
    assert plain.calibration is None


def test_a_model_that_is_the_expert_for_nothing_is_fed_all_prompts() -> None:
    inputs = pin([CODE, MATH], BASE, Tasks(experts={"code": "code"}))
    evidence = sign_all(inputs, Sources(), progress=print, note=None)
    prompts = prompts_by_model(inputs, evidence)
    assert [each.source for each in prompts["math"]] == ["simmerge-hub:code"]


def test_prompts_must_tell_the_models_apart(tmp_path: Path) -> None:
    """A copy of the same prompts is no other prompts; without prompts there are none at all."""

    def why(probes: dict[str, str], signals: str = "full", **more: str) -> str:
        inputs = pin([CODE, MATH], BASE, Tasks(experts={**TASKS.experts, **more}, probes=probes))
        sources = Sources(signals=signals)  # pyright: ignore[reportArgumentType]
        return why_unfed(inputs, sign_all(inputs, sources, progress=print, note=None))

    one, copy = tmp_path / "one.txt", tmp_path / "copy.txt"
    for each in (one, copy):
        each.write_text("one two three\nfour five six\n")
    assert why({}) == ""
    assert why({"code": str(one)}) == ""
    assert why({"code": str(one), "math": str(copy)}) == SAME_PROMPTS
    twice = {"code": str(one), "math": str(copy), "more": str(one)}
    assert why(twice, more="code") == SAME_PROMPTS
    assert why({}, "structural") == WITHOUT_PROMPTS


def test_experts_answer_only_for_a_predictor_that_reads_it(tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("rot abc>\nrot abcd>\nadd 12>\nadd 123>\n")
    probes = dict.fromkeys(("code", "math"), str(tmp_path / "few.txt"))
    inputs = pin([CODE, MATH], BASE, Tasks(experts=TASKS.experts, probes=probes))
    plain = sign_all(inputs, Sources(), progress=print, note=None)
    assert plain.names == FEATURE_NAMES == plain.compare("code", "math", "code").names
    assert not any(each.responses for each in plain.signatures.values())
    names = names_of(["dose", "cross"])
    evidence = sign_all(inputs, Sources(), names=names, progress=print, note=None)
    answered = {name: set(each.responses) for name, each in evidence.signatures.items()}
    assert answered == {"code": {"code"}, "math": {"math"}, "base": set()}
    told = evidence.compare("math", "code", "math")
    assert told.names == names
    assert 0 <= told["dose_area_expert"] <= 1 and 0 <= told["cross_tokens_expert"] <= 1
    common = plain.compare("math", "code", "math").values
    assert np.array_equal(told.values[: len(FEATURE_NAMES)], common, equal_nan=True)
    structural = sign_all(
        inputs, Sources(signals="structural"), names=names, progress=print, note=None
    )
    assert not any(each.responses for each in structural.signatures.values())
