"""Every test here meets a refusal, follows its hint to the letter, and says what that leads to.

`@pytest.mark.refusal(MESSAGE, OUTCOME)` names the message as docs/reference/errors.md has it, where
`…` stands for what varies; the page's last column is OUTCOME. A third argument is how the hint
begins, where one message has several.
"""

import re
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import torch

from simmerge_hub.errors import SimmergeError
from simmerge_hub.merger import MergeReport
from simmerge_hub.publishing.verbs import merge
from tests import nano

PAGE = Path(__file__).parents[2] / "docs/reference/errors.md"
Refused = Callable[..., str]
"""(a call that is refused, its arguments) -> the hint."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "refusal(message, outcome[, hint]): the hint that is followed"
    )


def rows() -> list[tuple[str, str]]:
    """(message, hint) of every refusal on the page."""
    table = re.findall(r"^\| (.*) \| (.*?) \| .*\|$", PAGE.read_text("utf-8"), re.MULTILINE)
    return [tuple(unescape(cell.replace("\\", "")) for cell in row) for row in table]  # type: ignore[misc]


def fits(text: str, template: str) -> bool:
    """Whether a text is this one of the page, with something in place of every `…`."""
    parts = [re.escape(part) for part in template.replace("\\", "").split("…")]
    return re.match(".*".join(parts), " ".join(text.split()).replace("\\", "")) is not None


@pytest.fixture
def refused(request: pytest.FixtureRequest) -> Iterator[Refused]:
    """Makes a call that has to be refused as the test's mark says; returns the hint."""
    mark = request.node.get_closest_marker("refusal")
    message, _, *start = mark.args
    hints: list[str] = []

    def call(function: Callable[..., Any], *arguments: Any, **named: Any) -> str:
        with pytest.raises(SimmergeError) as caught:
            function(*arguments, **named)
        assert fits(str(caught.value), message), str(caught.value)
        hints.append(caught.value.hint)
        assert hints[-1].startswith("".join(start))
        assert any(m == message and fits(hints[-1], h) for m, h in rows()), hints[-1]
        return hints[-1]

    yield call
    assert all(hints) and hints


@pytest.fixture(scope="session")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, two fine-tunes and two adapters of it, in one folder; not to be changed."""
    folder = tmp_path_factory.mktemp("family")
    nano.family(folder)
    for number, name in enumerate(("lora", "other"), 1):
        at = "base_model.model.model.layers.0.self_attn.q_proj"
        generator = torch.Generator().manual_seed(number)
        pair = {
            f"{at}.lora_A.weight": torch.randn(2, nano.WIDTH, generator=generator),
            f"{at}.lora_B.weight": torch.randn(nano.WIDTH, 2, generator=generator),
        }
        nano.lora(folder / name, pair)
    return folder


@pytest.fixture
def here(family: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of the test's own, in which the family's folders are links."""
    for each in family.iterdir():
        (tmp_path / each.name).symlink_to(each)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(recipe: str, output: str = "out", **how: Any) -> MergeReport:
    """Merge what a recipe's text says; it lies in the working folder."""
    Path("recipe.yaml").write_text(recipe, encoding="utf-8")
    return merge("recipe.yaml", output, durable=False, **how)
