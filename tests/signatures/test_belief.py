"""What is refused of signatures that somebody published, and what the spot check looks at."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from simmerge_hub.signatures import belief, cache
from simmerge_hub.signatures.belief import doubt, spot_check
from simmerge_hub.signatures.sample import sampled_rows
from simmerge_hub.signatures.signature import Request, Settings, Signature

NORM = "model.norm.weight"
TASK = "strings"


@pytest.fixture
def wanted(family: Any, assets: Any) -> Request:
    return Request(checkpoint=family.checkpoints["expert"], probe_sets=(family.probes,))


def sampled(**changed: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Signature], Signature]:
    """The signature with some sampled tensors changed, `norm` for NORM or `all`."""

    def change(found: Signature) -> Signature:
        one = changed.get("norm", lambda t: t)
        every = changed.get("all", lambda t: t)
        tensors = {n: every(one(t) if n == NORM else t) for n, t in found.sampled.items()}
        return replace(found, sampled=tensors)

    return change


def sketched(**arrays: Any) -> Callable[[Signature], Signature]:
    """The signature with some parts of its sketch changed."""

    def change(found: Signature) -> Signature:
        sketch = found.sketches[TASK]
        values = {n: f(getattr(sketch, n)) if callable(f) else f for n, f in arrays.items()}
        return replace(found, sketches={TASK: replace(sketch, **values)})

    return change


def test_the_models_own_signature_is_believed(family: Any, wanted: Request) -> None:
    assert doubt(family.expert, wanted) == ""
    assert doubt(family.expert, wanted, family.expert) == ""
    assert spot_check(family.expert, wanted, "c") == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: replace(s, digest="0" * 64), "it is of a model of other content"),
        (lambda s: replace(s, settings=Settings(entries=5)), "its settings are Settings(entries=5"),
        (lambda s: replace(s, kind="merge"), "its tensors are not those of the model"),
        (lambda s: replace(s, approximate=("x",)), "its tensors are not those of the model"),
        (lambda s: replace(s, shapes={}), "its tensors are not those of the model"),
        (lambda s: replace(s, sampled={}), "other tensors are sampled in it"),
        (sampled(norm=torch.Tensor.double), f"{NORM} is torch.float64 (1, 32) in it"),
        (sampled(norm=lambda t: t[:, :5]), f"{NORM} is torch.float32 (1, 5) in it"),
        (sketched(loss=lambda a: a[:3]), f"its sketch of {TASK} has loss of the wrong size"),
        (sketched(loss=lambda a: a.astype(np.float64)), "has loss of the wrong size or type"),
        (sketched(hidden=lambda a: a[:, :5]), "has hidden of the wrong size or type"),
        (sketched(hidden="text"), "has no array hidden"),
        (sketched(logprobs=lambda a: a[:, :5]), "has logprobs of the wrong size or type"),
        (sketched(attention=lambda a: a[0]), "has attention of the wrong size or type"),
        (sketched(vocabulary="many"), "has no tokens or vocabulary"),
        (sketched(tokens=None), "has no tokens or vocabulary"),
    ],
)  # fmt: skip
def test_what_cannot_be(change: Any, reason: str, family: Any, wanted: Request) -> None:
    assert reason in doubt(change(family.expert), wanted)


def test_tokens_beyond_the_vocabulary(family: Any, wanted: Request) -> None:
    sketch = family.expert.sketches[TASK]
    shape = sketch.logprobs.shape
    large = sketched(ids=np.full(shape, sketch.vocabulary, np.int32), tail=sketch.entropy)
    assert "has tokens beyond its vocabulary" in doubt(large(family.expert), wanted)


def test_a_sketch_that_nobody_asked_for_is_not_looked_at(family: Any, wanted: Request) -> None:
    other = sketched(probes="else", loss=lambda a: a[:3])
    assert doubt(other(family.expert), wanted) == ""


def test_one_number_that_is_not_as_known(family: Any, wanted: Request) -> None:
    def bent(tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.clone()
        tensor[0, 3] += 1e-6
        return tensor

    found = sampled(norm=bent)(family.expert)
    assert doubt(found, wanted) == ""
    assert doubt(found, wanted, family.expert) == f"rows of {NORM} are not those of the model"


def test_false_rows_are_found_out(family: Any, wanted: Request) -> None:
    found = sampled(all=lambda t: t * 1.001)(family.expert)
    assert doubt(found, wanted) == ""
    assert "are not those of the model" in spot_check(found, wanted, "c")


def test_the_spot_check_reads_a_few_rows(
    family: Any, wanted: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    real = belief.read_rows

    def counting(checkpoint: Any, rows: Any, base: Any) -> Any:
        read.extend(high - low for ranges in rows.values() for low, high in ranges)
        return real(checkpoint, rows, base)

    monkeypatch.setattr(belief, "read_rows", counting)
    spot_check(family.expert, wanted, "c")
    assert set(read) == {1}
    assert len(read) <= belief.CHECKED


def test_which_rows_only_this_machine_knows(assets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ranges = sampled_rows({"a": (4000, 8), "b": (50, 8)}, entries=2000)
    first = belief._chosen(ranges, "digest commit")
    assert belief._chosen(ranges, "digest commit") == first
    assert belief._chosen(ranges, "digest later") != first
    monkeypatch.setattr(cache, "secret", lambda: bytes(32))
    assert belief._chosen(ranges, "digest commit") != first
    for name, places in first.items():
        rows = [row for low, high in ranges[name] for row in range(low, high)]
        assert [belief._row(ranges[name], place) for place in places] == [rows[p] for p in places]


def test_rows_of_an_adapter_may_differ_by_rounding() -> None:
    full, adapter = (
        SimpleNamespace(checkpoint=SimpleNamespace(kind=k)) for k in ("full", "adapter")
    )
    row = torch.tensor([[1.0, 2.0]])
    near: Any = row * (1 + 1e-6)
    assert not belief._same(near, row, full)  # type: ignore[arg-type]
    assert belief._same(near, row, adapter)  # type: ignore[arg-type]
    assert not belief._same(row * 1.001, row, adapter)  # type: ignore[arg-type]
