"""Text of others on a card and on a terminal: it is seen, and does nothing.

Attack: a licence, a model's name, a card's `base_model` or a plan's reason that holds HTML, links,
images, a closed code block, escape sequences, or marks that turn the text around.
"""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from huggingface_hub import HfApi
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from simmerge_hub import localhub
from simmerge_hub.cli import show
from simmerge_hub.cli.main import main
from simmerge_hub.literal import code, escaped_json, fence, literal, printable, without_credentials
from simmerge_hub.publishing.card import card
from simmerge_hub.recipe import load
from simmerge_hub.recipe.recipe import Source
from tests import nano
from tests.localhub.web.test_card import Seen
from tests.publishing.test_card import RECIPE, WHY, report

HOSTILE = (
    "<img src=x onerror=alert(1)> <script>x</script> [click](http://evil.example) "
    "![p](//evil.example/p) ``` </td> | a | <!-- \x1b[31m\x1b]8;;http://evil.example\x07 "
    "\u202egnp.exe\u202c http://evil.example \\[a](javascript:x) &lt;b&gt; www.evil.example "
    "<http://evil.example> `x` $$x$$\n\n# A heading\n---"
)


def active(markdown: str) -> list[str]:
    """Everything in a page that is more than text: HTML, links, images."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table"]).parse(markdown)
    kinds = []
    for token in [t for outer in tokens for t in (outer, *(outer.children or ()))]:
        if token.type in ("html_block", "html_inline", "image"):
            kinds.append(f"{token.type}: {token.content}")
        if token.type == "link_open":
            kinds.append(f"link: {token.attrs['href']}")
    return kinds


def body(text: str) -> str:
    return text.split("\n---\n", 1)[1]


@given(st.text(max_size=60) | st.text("<>[]()!`\\|&:/.w# \n*_-", max_size=40))
def test_a_literal_is_nothing_but_text(text: str) -> None:
    assert active(literal(text)) == []
    assert active(f"| a | b |\n| --- | --- |\n| {code(text)} | x |") == []
    block = fence(text)
    inside = printable(text).replace("\r", " ")
    assert active(f"{block}\n{inside}\n{block}\n") == []


def test_a_literal_shows_what_it_was() -> None:
    shown = MarkdownIt().renderInline(literal("a<b> [c](d) \\ 'e' & f_g*h"))
    assert shown == "a&lt;b&gt; [c](d) \\ 'e' &amp; f_g*h"
    assert not re.search("[\x1b\u202e]", literal(HOSTILE))
    assert "://" not in literal(HOSTILE) and "www." not in literal(HOSTILE)


def test_licences_notes_and_a_resealed_plan_on_a_card() -> None:
    clean = active(body(card(report(), WHY)))
    task = replace(WHY.tasks[0], task=HOSTILE, expert=HOSTILE, probes=HOSTILE)
    utility = next(iter(WHY.predictions[0].tasks.values()))
    merge = replace(WHY.predictions[0], merge=HOSTILE, tasks={HOSTILE: utility})
    why = replace(
        WHY, tasks=(task,), predictions=(merge,), reason=HOSTILE, tree=(HOSTILE, "```"),
        predictor=HOSTILE, predictor_from=HOSTILE,
        objective=replace(WHY.objective, heading=HOSTILE, description=HOSTILE),
    )  # fmt: skip
    made = report(**{"code": HOSTILE, "math": HOSTILE})
    made = replace(made, notes=(HOSTILE,))
    text = card(made, why)
    assert set(active(body(text))) <= set(clean), "only our own links"
    assert not re.search("[\x1b\x07\u202e\u202c]", text)


def test_the_page_of_a_merge_of_hostile_parents(
    hub: localhub.Hub, org: str, tmp_path: Path
) -> None:
    """From cards of others to what a browser is sent: names, licences, tasks, pictures."""
    cards = (
        {"license": "other", "license_name": HOSTILE[:90], "license_link": "javascript:alert(1)"},
        {"license": ["mit", {"b": "c"}], "extra_gated_prompt": HOSTILE},
    )
    names = ("[x](javascript:alert(1)) 'onerror=\"", "long " * 40 + "![p](//evil.example/p)")
    for seed, data in enumerate(cards):
        nano.save(tmp_path / "ab"[seed], nano.weights(seed))
        (tmp_path / "ab"[seed] / "README.md").write_text(f"---\n{json.dumps(data)}\n---\n# x\n")
    models = [{"name": n, "folder": str(tmp_path / f)} for n, f in zip(names, "ab", strict=True)]
    steps = [{"operator": "linear", "models": list(names)}]
    recipe = tmp_path / "m.yaml"
    recipe.write_text(json.dumps({"simmerge": 1, "models": models, "steps": steps}))
    assert main(["merge", str(recipe), "-o", str(tmp_path / "out")]) == 0
    assert main(["push", str(tmp_path / "out"), f"{org}/merged"]) == 0
    answer = httpx2.get(f"{hub.endpoint}/{org}/merged", headers={"Accept": "text/html"})
    seen = Seen()
    seen.feed(answer.text)
    assert answer.status_code == 200
    assert not {"script", "iframe", "form", "object"} & set(seen.tags)
    assert not [name for _, name, _ in seen.attributes if name.startswith("on")]
    addresses = [value for _, name, value in seen.attributes if name in ("href", "src")]
    assert not [each for each in addresses if "evil" in each or "javascript" in each.lower()]
    assert [a for t, n, a in seen.attributes if t == "img" and n == "src"] == [
        f"/{org}/merged/picture/{HfApi().model_info(f'{org}/merged').sha}/merge-tree.svg"
    ]
    assert "\u202e" not in answer.text
    assert seen.tags.count("table") == 3, "parents, files, commits"


def test_names_of_folders_on_a_card() -> None:
    named = Source(name="![x](http://evil.example)", digest="blake3:0")
    recipe = replace(RECIPE, models=(named, RECIPE.models[1]))
    assert not [each for each in active(body(card(report(recipe), None))) if "evil" in each]


def test_a_recipe_cannot_end_its_block() -> None:
    """A long text is folded over lines, and one of them may be three backticks."""
    words = "a" * 99 + " ``` " + "b" * 99 + " <img src=x>"
    models = (replace(RECIPE.models[0], digest=words), RECIPE.models[1])
    text = card(report(replace(RECIPE, models=models)), None)
    assert active(body(text)) == active(body(card(report(), None)))
    from simmerge_hub.recipe.load import _block

    below = text.rpartition("\n## Redo it\n")[2]
    assert _block(below.split("\n")) == replace(RECIPE, models=models).to_yaml(published=True)


def test_a_card_s_base_on_a_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    adapter = nano.lora(tmp_path / "lora", base="x\x1b[31m\u202ered")
    recipe = tmp_path / "m.yaml"
    recipe.write_text(
        f"simmerge: 1\nbase: {json.dumps('org/y' + chr(27) + '[31m')}\nmodels: [{adapter}]\n"
        "steps: [{operator: linear, models: [lora]}]\n"
    )
    assert main(["merge", str(recipe), "-o", str(tmp_path / "out")]) == 1
    assert main(["plan", str(adapter), str(adapter), "-o", str(tmp_path / "p.yaml")]) == 1
    assert main(["merge", "no\x1b[31m/\u202ething\x9b31m", "-o", str(tmp_path / "out")]) == 1
    seen = capfd.readouterr()
    assert not re.search("[\x1b\x9b\u202e]", seen.out + seen.err)
    assert "error: " in seen.err


def test_everything_that_rich_shows(capsys: pytest.CaptureFixture[str]) -> None:
    table = show.make_table(HOSTILE, title=HOSTILE)
    table.add_row(show.escape(HOSTILE))
    for shown in (HOSTILE, table):
        show.OUT.print(shown, markup=False)
    show.line(HOSTILE)
    show.note(HOSTILE)
    show.data({"a": HOSTILE, "b": "\x9b \u202e \ud800 \U000e0041"})
    seen = capsys.readouterr()
    assert not re.search("[\x1b\x07\x9b\u202e\u202c\ud800]", seen.out + seen.err)


@given(st.text())
def test_json_is_the_same_json(text: str) -> None:
    written = escaped_json(json.dumps({"a": text}, ensure_ascii=False))
    assert json.loads(written) == {"a": text} and printable(written) == written


def test_passwords_in_addresses() -> None:
    said = "nothing answers at https://me:secret@hub.example/api (http://x@y)"
    assert without_credentials(said) == "nothing answers at https://hub.example/api (http://y)"
    assert without_credentials("https://me:p@ss@hub.example/a") == "https://hub.example/a"
    assert without_credentials("https://hub.example/?by=me@x") == "https://hub.example/?by=me@x"


@pytest.mark.parametrize(
    "base", ["/home/me/models/base", "./base", "../x/y", "base", "C:\\x", "~/x/y"]
)
def test_where_a_base_lies_is_not_published(tmp_path: Path, base: str) -> None:
    for number in range(2):
        nano.lora(tmp_path / f"l{number}", base=base)
    recipe = tmp_path / "m.yaml"
    recipe.write_text(
        "simmerge: 1\noutput: adapter\nmodels: [{folder: l0}, {folder: l1}]\n"
        "steps: [{operator: linear, models: [l0, l1]}]\n"
    )
    from simmerge_hub import merger

    merger.merge(load(recipe)[0], tmp_path / "out")
    written: Any = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert written["base_model_name_or_path"] is None
    for path in (tmp_path / "out").iterdir():
        assert base.encode() not in path.read_bytes() or base in ("base", "./base")
