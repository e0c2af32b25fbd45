"""bfloat16 runs only where the processor multiplies it."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from simmerge_hub.zoo.manifest import Manifest, cast_for_exams, load_model
from simmerge_hub.zoo.real.precision import running_dtype


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    running_dtype.cache_clear()
    yield
    running_dtype.cache_clear()


@pytest.mark.parametrize(
    ("known", "dtype"),
    [
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, torch.float32),
        ({"avx512_f": True, "avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"neon": True, "bf16": True}, torch.bfloat16),
        ({"neon": True, "bf16": False}, torch.float32),
    ],
)
def test_the_processor_decides(
    known: dict[str, bool], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert running_dtype() == dtype


def test_a_torch_that_does_not_know_runs_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert running_dtype() == torch.bfloat16


def test_exams_in_bfloat16_see_its_values_whatever_they_run_in(
    tiny: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = replace(tiny, dtype="bfloat16")
    name = next(iter(tiny.specialists))
    seen = {}
    for has in (True, False):
        running_dtype.cache_clear()
        monkeypatch.setattr(
            torch.cpu, "get_capabilities", lambda has=has: {"avx512_bf16": has}, raising=False
        )
        seen[has] = list(cast_for_exams(asked, load_model(tiny, name)).parameters())
    assert {w.dtype for w in seen[True]} == {torch.bfloat16}
    assert {w.dtype for w in seen[False]} == {torch.float32}
    assert all(a.float().equal(b) for a, b in zip(seen[True], seen[False], strict=True))
