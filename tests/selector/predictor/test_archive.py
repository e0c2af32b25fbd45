import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from simmerge_hub.errors import OutputError, PredictorError
from simmerge_hub.selector.predictor.archive import load, save, text


@pytest.fixture(scope="module")
def stored(predictor):
    return text(predictor)


def test_a_predictor_comes_back_to_the_byte(predictor, pair, tmp_path):
    save(predictor, tmp_path / "new" / "a.json")
    found = load(tmp_path / "new" / "a.json")
    save(found, tmp_path / "b.json")
    assert (tmp_path / "new" / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    features = pair.given(pair.values)
    told = {"task": "t", "parameters": 600_000}
    one, other = (each.predict(features, **told) for each in (found, predictor))
    assert (one.kept, one.trust, one.reason) == (other.kept, other.trust, other.reason)


def test_a_full_disk_leaves_the_former_predictor(predictor, tmp_path, monkeypatch):
    """A half-written file took the place of one that took hours."""
    path = tmp_path / "predictor.json"
    path.write_text("former")

    def half(part, data):
        with part.open("wb") as file:
            file.write(data[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OutputError) as caught:
        save(predictor, path)
    assert str(caught.value) == f"{path} cannot be written: No space left on device"
    assert caught.value.hint == "free some space, or write to another disk"
    assert [each.name for each in tmp_path.iterdir()] == ["predictor.json"]
    assert path.read_text() == "former"


def test_the_file_is_plain_and_small(stored):
    assert json.loads(stored)["format"] == "simmerge-hub predictor"
    assert len(stored) < 1_000_000
    assert "NaN" not in stored


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: f.update(schema=99), "has schema 99"),
        (lambda f: f.update(format="pickle"), "is not a file of simmerge-hub predictor"),
        (lambda f: f.pop("familiar"), "damaged"),
        (lambda f: f["record"]["gains"].pop(), "do not fit its rows"),
        (lambda f: f["record"]["gains"][0].__setitem__(0, None), "an outcome of the record"),
        (lambda f: f["record"]["gains"][0].__setitem__(0, 151), "shares of the record"),
        (lambda f: f["record"]["predicted"]["complete"].pop(), "do not fit its rows"),
        (lambda f: f["record"]["predicted"].pop("complete"), "unknown patterns of features"),
        (lambda f: f["record"]["experts"].__setitem__(0, -1), "models of the record"),
        (lambda f: f["record"]["distances"]["complete"][0].__setitem__(0, -1), "distances of"),
        (lambda f: f["beyond"].update(gains={}), "or there is none"),
        (lambda f: f["beyond"]["gains"].update(linear=2), "lies outside"),
        (lambda f: f.update(alpha=0), "alpha"),
        (lambda f: f["heads"].pop(), "one head and mean per arm"),
        (lambda f: f["means"].pop(), "one head and mean per arm"),
        (lambda f: f["features"]["names"].pop(), "damaged"),
        (lambda f: f["features"]["names"].__setitem__(0, "js_mean"), "feature names repeat"),
        (lambda f: f["arms"][0].update(operator="tie"), "no operator 'tie'"),
        (lambda f: f["arms"].__setitem__(0, f["arms"][1]), "arms repeat"),
        (lambda f: f["radii"]["complete"].update(chosen=-1), "an interval is negative"),
        (lambda f: f["radii"]["complete"]["arms"].pop(), "one interval per arm"),
        (lambda f: f["radii"].update({"without luck": {}}), "unknown patterns"),
        (lambda f: f["familiar"]["knots"][0].reverse(), "not in order"),
        (lambda f: f["familiar"]["knots"].pop(), "do not fit"),
        (lambda f: f["familiar"]["references"][0].__setitem__(0, 7), "is no rank"),
        (lambda f: f["heads"][0].pop("learner"), "damaged"),
        (lambda f: f["familiar"].update(parameters=[0]), "no number of parameters"),
        (lambda f: f["familiar"].update(parameters=[]), "no number of parameters"),
        (lambda f: f["record"].update(sizes=[1]), "sizes of the record do not fit"),
        (lambda f: f["record"].update(sizes=[-1] * len(f["record"]["kinds"])), "or are none"),
        (lambda f: f.pop("line"), "damaged"),
        (lambda f: f["line"]["weights"].pop(), "weights has shape"),
        (lambda f: f["line"]["intercept"].pop(), "intercept has shape"),
        (lambda f: f["line"]["mean"].__setitem__(0, None), "mean holds no number"),
        (lambda f: f["line"]["spread"].__setitem__(0, 0.0), "a spread is not positive"),
        (lambda f: f["conditioned"].update(share=2), "no share"),
        (lambda f: f["conditioned"].update(unmeasured=-1), "an interval is negative"),
        (lambda f: f["conditioned"].update(effects=["luck"]), "damaged"),
        (lambda f: f["conditioned"]["forest"].pop("learner"), "damaged"),
    ],
)
def test_damage_is_named(stored, tmp_path, change, says):
    fields = json.loads(stored)
    change(fields)
    path = tmp_path / "p.json"
    path.write_text(json.dumps(fields))
    with pytest.raises(PredictorError, match=says) as caught:
        load(path)
    assert caught.value.hint


@pytest.mark.parametrize("cut", [0, 1, 1000, -3])
def test_a_file_cut_short_is_refused(stored, tmp_path, cut):
    path = tmp_path / "p.json"
    path.write_text(stored[:cut])
    with pytest.raises(PredictorError, match="is not a predictor"):
        load(path)


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_numbers_are_finite(stored, tmp_path, number):
    path = tmp_path / "p.json"
    path.write_text(stored.replace('"alpha":0.1', f'"alpha":{number}'))
    with pytest.raises(PredictorError, match="finite"):
        load(path)


def test_random_damage_never_gets_past_the_checks(stored, tmp_path):
    """Any number of the file replaced: refused, or still a predictor with finite answers."""
    random = np.random.default_rng(0)
    digits = [i for i, c in enumerate(stored) if c.isdigit()]
    path = tmp_path / "p.json"
    for place in random.choice(digits, 40):
        path.write_text(stored[:place] + "-9" + stored[place + 1 :])
        try:
            found = load(path)
        except PredictorError:
            continue
        assert np.isfinite(found.familiar.knots).all()
