"""mergekit 0.1.5's answers (parity.json, made by benchmarks/parity_reference.py) beside ours.

With float32 inputs both compute in float32 and must agree to its rounding. With bfloat16 inputs
mergekit rounds along the way; ours must be the float32 answer whatever mergekit's is, and the two
may differ by bfloat16's rounding. docs/reference/operators-parity.md names what is left.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from simmerge_hub.operators import OPERATORS, Arm, merge_tensors
from simmerge_hub.operators.sparse import draws

REFERENCE = json.loads(Path(__file__).with_name("parity.json").read_text())
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "operators-parity.md"
CASES = [
    pytest.param(case, key, id=f"{case['method']}-{number}-{key.replace(' ', '-')}")
    for number, case in enumerate(REFERENCE["cases"])
    for key in case["outputs"]
]
FLOAT32, BFLOAT16 = 1e-6, 0.02
"""Greatest difference allowed, relative to the greatest entry of mergekit's answer."""
LOOSE = {"karcher": 1e-5}
"""mergekit stops when the mean moves by less than 1e-5."""
NAMED = {
    ("arcee_fusion", "vector bfloat16"): "the divergence of rows cancels",
    ("della_linear", "vector bfloat16"): "probabilities are rounded to bfloat16",
}
"""Answers that differ, and the reason as the page has it."""


OURS_ALONE = {"regmean", "delta_regmean"}
"""Operators that mergekit lacks."""


def apart(case: dict[str, Any], key: str, monkeypatch: pytest.MonkeyPatch) -> float:
    """The greatest difference, relative to mergekit's greatest entry; random ones on one mask."""
    shape, dtype = key.split()
    words = np.array(REFERENCE["words"][shape], dtype=np.uint32) >> 16  # ours are upper halves
    monkeypatch.setattr(draws, "words", lambda _, i, r, c: words[i].ravel()[: r * c].reshape(r, c))
    stored = getattr(torch, dtype)
    base, *models = (torch.tensor(t).to(stored) for t in REFERENCE["inputs"][shape])
    chosen = Arm(operator=case["operator"], parameters=case["parameters"])
    merged = merge_tensors(chosen, base, [models[i] for i in case["models"]]).numpy()
    theirs = np.array(case["outputs"][key], dtype=np.float32)
    return float(np.abs(merged - theirs).max() / np.abs(theirs).max())


@pytest.mark.parametrize(("case", "key"), CASES)
def test_mergekit_answers_alike(
    case: dict[str, Any], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, allowed = apart(case, key, monkeypatch), LOOSE.get(case["method"], FLOAT32)
    if (case["method"], key) in NAMED:
        assert found > BFLOAT16
    else:
        assert found <= (allowed if key.endswith("float32") else BFLOAT16)


def test_every_operator_is_compared() -> None:
    assert {case["operator"] for case in REFERENCE["cases"]} == OPERATORS.keys() - OURS_ALONE


def test_the_page_has_every_operator_and_every_reason() -> None:
    """The page's table is this file's, and each difference that is named here is named there."""
    page = PAGE.read_text(encoding="utf-8")
    assert table() in page, f"put this into {PAGE}:\n{table()}"
    assert all(reason in page for reason in NAMED.values())
    assert f"mergekit {REFERENCE['mergekit']}" in page


def table() -> str:
    """Operator by operator: cases, and the greatest difference allowed."""
    lines = [
        "| operator | recipes compared | float32 inputs | bfloat16 inputs |",
        "|---|---|---|---|",
    ]
    for name in sorted(OPERATORS.keys() - OURS_ALONE):
        cases = [case for case in REFERENCE["cases"] if case["operator"] == name]
        reasons = {reason for (method, _), reason in NAMED.items() if method == name}
        rounding = "differs: " + ", ".join(reasons) if reasons else f"{BFLOAT16:g}"
        lines.append(f"| `{name}` | {len(cases)} | {LOOSE.get(name, FLOAT32):g} | {rounding} |")
    return "\n".join(lines)
