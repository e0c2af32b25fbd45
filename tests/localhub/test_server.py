"""The server as a process: how it starts, stops, restarts, and whom it refuses."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from simmerge_hub import localhub
from simmerge_hub.localhub.store.storage import verify

COMMAND = [sys.executable, "-m", "simmerge_hub.localhub"]
PUBLISH = """
from huggingface_hub import HfApi
api = HfApi()
repo = api.create_repo("org/kept", exist_ok=True).repo_id
api.upload_file(path_or_fileobj=b"text", path_in_repo="a.txt", repo_id=repo)
api.upload_file(path_or_fileobj=bytes(range(256)) * 1000, path_in_repo="w.bin", repo_id=repo)
api.create_tag(repo, tag="v1", exist_ok=True)
print(api.model_info(repo).sha)
"""
READ = """
from huggingface_hub import HfApi, hf_hub_download
api = HfApi()
path = hf_hub_download("org/kept", "w.bin", force_download=True)
assert open(path, "rb").read() == bytes(range(256)) * 1000
assert [tag.name for tag in api.list_repo_refs("org/kept").tags] == ["v1"]
print(api.model_info("org/kept").sha)
"""


def client(hub: localhub.Hub, script: str) -> str:
    """What a script prints in a fresh process: HF_ENDPOINT is read once per process."""
    environment = {**os.environ, **hub.environment(), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    return subprocess.check_output(
        [sys.executable, "-c", script], env=environment, text=True, timeout=60
    )


def ask(endpoint: str, path: str = "/", **headers: str) -> int:
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=10)
    connection.request("GET", path, headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def announced(process: subprocess.Popen[str]) -> dict[str, str]:
    assert process.stdout is not None
    return dict(process.stdout.readline().strip().split("=", 1) for _ in range(3))


def test_a_restart_keeps_everything(tmp_path: Path) -> None:
    with localhub.running(tmp_path) as hub:
        sha = client(hub, PUBLISH)
        port = urlsplit(hub.endpoint).port or 0
    with localhub.running(tmp_path, port=port) as again:
        assert again.endpoint == hub.endpoint
        assert client(again, READ) == sha
    assert verify(tmp_path) == []


def test_a_restart_does_not_trust_the_uploads_before_it(tmp_path: Path) -> None:
    """The client remembers which chunks it sent to which address; after a restart they are gone."""
    with localhub.running(tmp_path / "first") as hub:
        client(hub, PUBLISH)
    port = urlsplit(hub.endpoint).port or 0
    with localhub.running(tmp_path / "second", port=port) as other:
        same_client = localhub.Hub(
            endpoint=other.endpoint, home=hub.home, token=other.token, pid=other.pid
        )
        client(same_client, PUBLISH)
        client(same_client, READ)


def test_the_announcement_can_be_evaluated_by_a_shell(tmp_path: Path) -> None:
    process = start(f"--dir={tmp_path}", "--exit-with-parent")
    said = announced(process)
    assert said["HF_ENDPOINT"].startswith("http://127.0.0.1:")
    assert said["HF_HOME"] == str(tmp_path / "client")
    assert (
        ask(said["HF_ENDPOINT"], "/api/whoami-v2", Authorization=f"Bearer {said['HF_TOKEN']}")
        == 200
    )
    _, errors = process.communicate(timeout=15)
    assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    process = start(f"--dir={tmp_path}")
    announced(process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=15)
    assert (process.returncode, errors) == (0, "")


def test_it_stops_when_its_parent_dies(tmp_path: Path) -> None:
    script = (
        "import sys, time; from simmerge_hub import localhub\n"
        "with localhub.running(sys.argv[1]) as hub: print(hub.endpoint, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    endpoint = parent.stdout.readline().strip()
    assert ask(endpoint) == 200
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            ask(endpoint)
        except OSError:
            return
        time.sleep(0.05)
    pytest.fail("the server outlived its parent")


def test_it_stops_when_nobody_asks(tmp_path: Path) -> None:
    process = start(f"--dir={tmp_path}", "--idle=0.5")
    endpoint = announced(process)["HF_ENDPOINT"]
    for _ in range(4):
        time.sleep(0.25)
        assert ask(endpoint) == 200
    assert process.wait(timeout=10) == 0
    process.communicate()


def test_one_server_to_a_folder(tmp_path: Path) -> None:
    with localhub.running(tmp_path):
        second = localhub.running(tmp_path)
        with pytest.raises(localhub.LocalhubError, match="another localhub is running on"), second:
            pytest.fail("two servers share a folder")
    with localhub.running(tmp_path) as hub:
        assert ask(hub.endpoint) == 200


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(
                localhub.LocalhubError, match=f"cannot listen on port {port}: .*another --port"
            ),
            localhub.running(tmp_path, port=port),
        ):
            pass


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    for name in [n for n in sys.modules if n.startswith("simmerge_hub.localhub.server")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("simmerge_hub.localhub.server", raising=False)
    with pytest.raises(
        localhub.LocalhubError, match=r"needs uvicorn.*pip install 'simmerge-hub\[localhub\]'"
    ):
        localhub.serve(dir=tmp_path)


def test_starting_a_server_needs_no_server_libraries() -> None:
    script = (
        "import sys; from simmerge_hub import localhub;"
        "print(sorted({'starlette', 'uvicorn', 'lz4', 'numpy', 'yaml'} & {*sys.modules}))"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "[]"


def test_other_host_names_are_refused(hub: localhub.Hub) -> None:
    assert ask(hub.endpoint, Host="evil.example") == 400
    assert ask(hub.endpoint, Host="localhost") == 200


def test_only_loopback_is_bound(hub: localhub.Hub) -> None:
    # A server on all addresses would answer here too.
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.2", urlsplit(hub.endpoint).port or 0), timeout=2)


def test_what_it_does_not_serve_is_404(hub: localhub.Hub) -> None:
    assert ask(hub.endpoint, "/api/papers/1") == 404
    assert ask(hub.endpoint, "/api/models/org/name/likers") == 404


def test_tokens_are_not_logged(tmp_path: Path) -> None:
    with localhub.running(tmp_path, tokens={"somebody": "hf_sesame"}) as hub:
        ask(hub.endpoint, "/api/whoami-v2", Authorization="Bearer hf_sesame")
        ask(hub.endpoint, "/api/models/%FF/x?token=hf_sesame", Authorization="Bearer hf_wrong")
    assert "hf_" not in (tmp_path / "localhub.log").read_text()


def test_the_command_checks_a_folder(tmp_path: Path) -> None:
    with localhub.running(tmp_path) as hub:
        client(hub, PUBLISH)
    check = [*COMMAND, f"--dir={tmp_path}", "--verify"]
    assert "is intact" in subprocess.run(check, capture_output=True, text=True).stdout
    blob = max((tmp_path / "blobs").glob("*/*"), key=lambda path: path.stat().st_size)
    blob.write_bytes(b"\1" * blob.stat().st_size)
    damaged = subprocess.run(check, capture_output=True, text=True)
    assert damaged.returncode == 1
    assert (
        damaged.stdout.startswith("models/org/kept: w.bin at ") and "is damaged" in damaged.stdout
    )
