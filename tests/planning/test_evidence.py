"""Signatures of all models and the base; probes only where they are wanted."""

from pathlib import Path

import pytest

from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.planning.ask.options import Sources, Tasks
from simmerge_hub.planning.evidence import sign_all
from simmerge_hub.planning.inputs import pin

CODE, MATH, BASE = (str(nano_folder() / name) for name in ("code", "math", "base"))
TASKS = Tasks(experts={"code": "code", "math": "math"})


def test_structural_signals_run_no_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path))
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
