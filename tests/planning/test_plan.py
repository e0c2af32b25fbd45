"""What a plan reads, downloads and runs, and what it says of itself."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import torch

from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.hub.resolve import resolve
from simmerge_hub.localhub import Hub
from simmerge_hub.planning.ask.options import Sources, Tasks
from simmerge_hub.planning.plan import plan
from simmerge_hub.recipe import parse
from simmerge_hub.selector.predictor.measured import pairs
from simmerge_hub.signatures.published import shared
from simmerge_hub.signatures.published.shared import find_or_sign
from simmerge_hub.signatures.signing.signature import Request
from simmerge_hub.zoo.publish import publish
from tests import nano

CODE = str(nano_folder() / "code")


@pytest.mark.parametrize("times", [1, 20_000], ids=["far smaller", "larger"])
def test_models_of_a_size_that_was_never_held_out_take_linear_and_say_so(
    times: int, tmp_path: Path
) -> None:
    """Their features may look ordinary; the number of parameters is enough."""
    base_weights = nano.weights(vocabulary=20 * times, dtype=torch.bfloat16)
    for name, seed in (("base", 0), ("code", 1), ("math", 2)):
        tensors = nano.tuned(base_weights, seed, size=0.02) if seed else base_weights
        nano.save(tmp_path / name, tensors, tokenizer=False)
    code, math, base = (str(tmp_path / name) for name in ("code", "math", "base"))
    tasks = Tasks(experts={"code": "code", "math": "math"})
    made = plan(code, math, base=base, tasks=tasks, sources=Sources(signals="structural"))
    assert made.recipe.steps[0].operator == "linear"
    assert not made.recipe.steps[0].parameters
    assert made.verdict.status == "abstained"
    said = made.explain()
    assert "linear is the safe choice" in said
    assert "first) is not followed" in said
    assert f"on {pairs.read().pairs} pairs of specialists of a 270 M language model" in said
    assert "evaluate this merge" in said
    trust = made.to_dict()["trust"]
    assert (trust["followed"], trust["safe"], trust["error"]) == (False, "linear", None)
    assert {spread[1:] for c in made.choices for spread in c.spreads().values()} == {(0.0, 1.5)}


def test_structural_signals_download_no_weights(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub.utils import _cache_assets

    from simmerge_hub.hub.files import ranges
    from simmerge_hub.signatures.signing import signature

    publish(nano_folder(), "nano")
    fetched: list[str] = []
    download = ranges.local_file

    def watched(location: ranges.Location, file: str) -> Path:
        fetched.append(file)
        return download(location, file)

    monkeypatch.setattr(_cache_assets, "HF_ASSETS_CACHE", str(tmp_path))
    monkeypatch.setattr(ranges, "local_file", watched)
    monkeypatch.setattr("simmerge_hub.hub.files.cached.local_file", watched)
    monkeypatch.setattr("simmerge_hub.hub.resolve.local_file", watched)
    monkeypatch.setattr(signature, "run_probes", None)
    made = plan("nano/code", "nano/rag-lora", sources=Sources(signals="structural"))
    assert fetched
    assert not [name for name in fetched if name.endswith(".safetensors")]
    recipe, why = parse(made.to_yaml(), "the plan")
    assert recipe == made.recipe
    assert why is not None
    assert [task.probes for task in why.tasks] == ["none", "none"]


class TestOnceSigned:
    """Planning again, or from published signatures alone: what the Hub is asked for, counted there.

    That the base is the models' base is checked with a few rows of each, once on a machine.
    """

    SCRIPT = """
import json, sys
from simmerge_hub.planning.plan import plan
made = plan(*sys.argv[1:])
heavy = {"torch", "xgboost", "transformers", "peft", "tokenizers", "accelerate", "datasets"}
heavy &= set(sys.modules)
print(json.dumps({"heavy": sorted(heavy), "signatures": made.to_dict()["signatures"]}))
"""

    @pytest.fixture
    def models(self, hub: Hub, org: str) -> tuple[str, str]:
        publish(nano_folder(), org)
        return f"{org}/code", f"{org}/math"

    def planned(self, models: tuple[str, str], **environment: str) -> dict[str, Any]:
        """A plan in a process of its own."""
        done = subprocess.run(
            [sys.executable, "-c", self.SCRIPT, *models],
            env={**os.environ, **environment}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return json.loads(done.stdout)

    def test_a_second_plan_reads_no_weight_and_runs_nothing(self, models: tuple[str, str]) -> None:
        """Nor does it import torch or XGBoost, which take longer than all the rest of it."""
        for other in (models[1], models[0].replace("/code", "/rag-lora")):  # an adapter too
            plan(models[0], other)
            with recording() as (endpoint, seen):
                second = self.planned((models[0], other), HF_ENDPOINT=endpoint)
            assert second["heavy"] == []
            origins = {o for parts in second["signatures"].values() for o in parts.values()}
            assert origins == {"cache"}
            assert weight_bytes(seen) == 0

    def test_published_signatures_are_enough(self, models: tuple[str, str], tmp_path: Path) -> None:
        made = plan(*models)
        for name in made.signatures:
            request = Request(checkpoint=resolve(name), probe_sets=tuple(made.probes.values()))
            shared.publish(find_or_sign(request).signature, request)
        theirs = {"HF_ASSETS_CACHE": str(tmp_path / "theirs"), "HF_HOME": str(tmp_path / "home")}
        with recording() as (endpoint, seen):
            found = self.planned(models, **theirs, HF_ENDPOINT=endpoint)
        assert not {"transformers", "peft"} & set(found["heavy"])  # two are compared, none is run
        assert found["signatures"] == {
            name: dict.fromkeys(parts, name) for name, parts in made.signatures.items()
        }
        assert len({path for path, _ in seen if "/simmerge/" in path}) >= 3
        assert 0 < weight_bytes(seen) <= 2 * rows_checked()  # of each model, and of the base beside


def rows_checked() -> int:
    """Bytes of the rows of two models that tell whether one is a fine-tune of the other."""
    from simmerge_hub.weights.alignment.lineage import CHECKED_ROWS, CHECKED_TENSORS

    headers = [h for h in resolve(CODE).tensors.values() if len(h.shape) == 2]
    return 2 * 2 * CHECKED_TENSORS * CHECKED_ROWS * max(h.shape[1] for h in headers)


@contextmanager
def recording() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """An address that passes everything on to the Hub: (address, what it answered: path, bytes)."""
    hub = urlsplit(os.environ["HF_ENDPOINT"]).netloc
    seen: list[tuple[str, bytes]] = []

    class Passing(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with closing(HTTPConnection(hub)) as connection:
                connection.request(self.command, self.path, body or None, dict(self.headers))
                answer = connection.getresponse()
                data = answer.read()
            seen.append((self.path, data))
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                    self.send_header(name, value)
            self.send_header("Content-Length", answer.headers["Content-Length"] or str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_HEAD = do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Passing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", seen
        finally:
            server.shutdown()
            thread.join()


def weight_bytes(seen: list[tuple[str, bytes]]) -> int:
    """Bytes of weight files that were sent, but for their headers: 8 bytes, then JSON."""
    sent = [data for path, data in seen if path.endswith("model.safetensors")]
    headers = [data for data in sent if len(data) == 8 or data[:2] == b'{"']
    assert headers
    return sum(map(len, sent)) - sum(map(len, headers))
