"""What licences ask for, as a table: each row with the text it was read from. Not legal advice.

Identifiers are those of the Hub; families of custom terms are also known by the `license_name` that
their cards give.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "public domain", "permissive", "custom", "rail", "share-alike", "copyleft", "no derivatives",
    "unlisted",
]  # fmt: skip
"""What a licence does to a merge: nothing, notices, terms of its own, uses that are forbidden, the
same licence for the whole, no merge at all; `unlisted`: nothing is known of it here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What one licence asks for.

    Args:
        identifier: as the Hub has it, or the name cards give.
        kind: what it does to a merge.
        asks: what whoever shares a merge must do, in words.
        source: where its text is.
        noncommercial: whether commercial use is forbidden.
        prefix: how a merge's name must begin; empty if that is free.
        family: the models it was written for; empty if it is for any.
        closed: whether it forbids to improve models that are not of its family.
    """

    identifier: str
    kind: Kind
    asks: str
    source: str
    noncommercial: bool = False
    prefix: str = ""
    family: str = ""
    closed: bool = False


CREATIVE = "https://creativecommons.org/licenses"
SPDX = "https://spdx.org/licenses"
SPDX_NAMES: Mapping[str, str] = {
    "apache-2.0": "Apache-2.0", "bsd": "BSD-3-Clause", "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause", "bsd-3-clause-clear": "BSD-3-Clause-Clear",
    "cdla-permissive-1.0": "CDLA-Permissive-1.0", "cdla-permissive-2.0": "CDLA-Permissive-2.0",
    "cdla-sharing-1.0": "CDLA-Sharing-1.0", "odbl": "ODbL-1.0", "odc-by": "ODC-By-1.0",
    "pddl": "PDDL-1.0", "postgresql": "PostgreSQL", "unlicense": "Unlicense", "zlib": "Zlib",
    "etalab-2.0": "etalab-2.0", "gpl-2.0": "GPL-2.0-only", "gpl-3.0": "GPL-3.0-only",
    "lgpl-2.1": "LGPL-2.1-only", "lgpl-3.0": "LGPL-3.0-only", "agpl-3.0": "AGPL-3.0-only",
}  # fmt: skip
"""Identifiers that SPDX writes otherwise than in capitals; the Hub's, as its own."""
NOTICE = "keep its copyright notice and its text"
CREDIT = "name its author and say that it was changed"
SAME = "put the whole merge under the same licence"
NO_MONEY = "no commercial use"
PROHIBITED = "pass on its list of forbidden uses"


def _llama(version: str, built: str = "", prefix: str = "", more: str = "") -> Terms:
    path = version.replace(".", "_")
    named = f', show "{built}", begin the model\'s name with "{prefix}"' if prefix else ""
    return Terms(
        identifier=f"llama{version}",
        kind="custom",
        asks=f"Llama {version} Community License: pass on its text and notice{named}; keep to its "
        f"acceptable use policy{more}; more than 700 million monthly users need a licence from "
        "Meta",
        source=f"https://www.llama.com/llama{path}/license/",
        prefix=prefix,
        family=f"Llama {version}",
        closed=more == ONLY_LLAMA,
    )


ONLY_FAMILY = "do not improve other language models with it"
ONLY_LLAMA = f"; {ONLY_FAMILY}"
NOT_EUROPE = "; its multimodal models are not for persons and firms of the European Union"
CUSTOM = (
    _llama("2", more=ONLY_LLAMA),
    _llama("3", "Built with Meta Llama 3", "Llama 3", ONLY_LLAMA),
    _llama("3.1", "Built with Llama", "Llama"),
    _llama("3.2", "Built with Llama", "Llama", NOT_EUROPE),
    _llama("3.3", "Built with Llama", "Llama"),
    _llama("4", "Built with Llama", "Llama", NOT_EUROPE),
    Terms(
        identifier="gemma",
        kind="custom",
        asks="Gemma Terms of Use: pass on the terms, their notice and the prohibited use policy, "
        "and mark changed files",
        source="https://ai.google.dev/gemma/terms",
        family="Gemma",
    ),
    Terms(
        identifier="qwen",
        kind="custom",
        asks='Qwen License: pass on its text, mark changed files, show "Built with Qwen" or '
        '"Improved using Qwen" where it improves another model; more than 100 million monthly '
        "users need a licence",
        source="https://huggingface.co/Qwen/Qwen2.5-72B-Instruct/blob/main/LICENSE",
        family="Qwen",
    ),
    Terms(
        identifier="tongyi-qianwen",
        kind="custom",
        asks=f"Tongyi Qianwen License: pass on its text and notice, mark changed files; "
        f"{ONLY_FAMILY}; more than 100 million monthly users need a licence",
        source="https://huggingface.co/Qwen/Qwen-7B/blob/main/LICENSE",
        family="Qwen",
        closed=True,
    ),
    Terms(
        identifier="tongyi-qianwen-research",
        kind="custom",
        asks=f"Tongyi Qianwen Research License: {NO_MONEY}; pass on its text and notice, mark "
        f"changed files; {ONLY_FAMILY}",
        source="https://huggingface.co/Qwen/Qwen-1_8B/blob/main/LICENSE",
        noncommercial=True,
        family="Qwen",
        closed=True,
    ),
    Terms(
        identifier="qwen-research",
        kind="custom",
        asks=f"Qwen Research License: {NO_MONEY}; pass on its text, mark changed files, show "
        '"Built with Qwen" or "Improved using Qwen" where it improves another model',
        source="https://huggingface.co/Qwen/Qwen2.5-3B-Instruct/blob/main/LICENSE",
        noncommercial=True,
        family="Qwen",
    ),
    Terms(
        identifier="deepseek",
        kind="rail",
        asks=f"DeepSeek Model License: {PROHIBITED} (attachment A), its text, and mark changed "
        "files",
        source="https://github.com/deepseek-ai/DeepSeek-LLM/blob/main/LICENSE-MODEL",
        family="DeepSeek",
    ),
    Terms(
        identifier="mrl",
        kind="custom",
        asks=f"Mistral AI Research License: {NO_MONEY} without an agreement with Mistral AI; pass "
        "on its text and notice, mark changed files",
        source="https://mistral.ai/licenses/MRL-0.1.md",
        noncommercial=True,
        family="Mistral",
    ),
    Terms(
        identifier="mnpl",
        kind="custom",
        asks=f"Mistral AI Non-Production License: {NO_MONEY}, nothing in production; pass on its "
        "text",
        source="https://mistral.ai/licenses/MNPL-0.1.md",
        noncommercial=True,
        family="Mistral",
    ),
)
NAMES: Mapping[str, str] = {
    "tongyi-qianwen-license-agreement": "tongyi-qianwen",
    "tongyi-qianwen-license": "tongyi-qianwen",
    "tongyi-qianwen-research-license": "tongyi-qianwen-research",
    "qwen-research-license": "qwen-research",
    "qwen-license-agreement": "qwen",
    "qwen-license": "qwen",
    "deepseek-license": "deepseek",
    "deepseek-model-license": "deepseek",
    "mistral-ai-research-license": "mrl",
    "mistral-research-license": "mrl",
    "mistral-ai-non-production-license": "mnpl",
    "gemma-terms-of-use": "gemma",
}
"""What cards also call some of them."""


def _simple(kind: Kind, asks: str, *identifiers: str, money: bool = True) -> tuple[Terms, ...]:
    return tuple(
        Terms(
            identifier=name,
            kind=kind,
            asks=asks,
            source=_creative(name) if name.startswith("cc") else _spdx(name),
            noncommercial=not money,
        )
        for name in identifiers
    )


def _spdx(name: str) -> str:
    return f"{SPDX}/{SPDX_NAMES.get(name, name.upper())}.html"


def _creative(name: str) -> str:
    if name == "cc0-1.0":
        return "https://creativecommons.org/publicdomain/zero/1.0/"
    what, _, version = name.removeprefix("cc-").rpartition("-")
    return f"{CREATIVE}/{what}/{version}/"


TERMS: Mapping[str, Terms] = {
    each.identifier: each
    for each in (
        *_simple("public domain", "nothing", "cc0-1.0", "unlicense", "wtfpl", "pddl"),
        *_simple(
            "permissive", NOTICE, "isc", "mit", "bsd", "bsd-2-clause", "bsd-3-clause", "ncsa",
            "zlib", "postgresql", "bsl-1.0", "afl-3.0", "ms-pl", "bsd-3-clause-clear",
            "cdla-permissive-1.0", "cdla-permissive-2.0",
        ),
        *_simple(
            "permissive", f"{NOTICE}, and mark changed files", "apache-2.0", "ecl-2.0",
        ),
        *_simple("permissive", CREDIT, "odc-by", "etalab-2.0"),
        *_simple("permissive", CREDIT, "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0"),
        *_simple(
            "permissive", f"{CREDIT}; {NO_MONEY}", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0",
            money=False,
        ),
        *_simple("share-alike", f"{CREDIT}; {SAME}", "cc-by-sa-3.0", "cc-by-sa-4.0"),
        *_simple("share-alike", f"{NOTICE}; {SAME}", "odbl", "cdla-sharing-1.0"),
        *_simple(
            "share-alike", f"{CREDIT}; {SAME}; {NO_MONEY}", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0",
            "cc-by-nc-sa-4.0", money=False,
        ),
        *_simple(
            "copyleft", f"{NOTICE}; {SAME}", "lgpl-2.1", "lgpl-3.0", "gpl-2.0", "gpl-3.0",
            "mpl-2.0", "eupl-1.2", "osl-3.0",
        ),
        *_simple(
            "copyleft", f"{NOTICE}; {SAME}; offer its source to whoever uses it over a network",
            "agpl-3.0",
        ),
        *_simple("no derivatives", "changed versions must not be shared", "cc-by-nd-4.0"),
        *_simple(
            "no derivatives", f"changed versions must not be shared; {NO_MONEY}",
            "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", money=False,
        ),
        *(
            Terms(
                identifier=name,
                kind="rail",
                asks=f"{PROHIBITED}, and its text",
                source="https://www.licenses.ai/",
                family=family,
            )
            for name, family in (
                ("openrail", ""), ("openrail++", ""), ("creativeml-openrail-m", ""),
                ("bigscience-openrail-m", "BigScience"),
                ("bigscience-bloom-rail-1.0", "BigScience"), ("bigcode-openrail-m", "BigCode"),
            )
        ),
        *CUSTOM,
    )
}  # fmt: skip
"""By identifier."""


def find_terms(stated: str) -> Terms:
    """What a licence asks for, by what a card calls it; `unlisted` where that is not known."""
    name = re.sub(r"[\s_]+", "-", stated.strip().lower())
    known = TERMS.get(NAMES.get(name, name))
    return known or Terms(
        identifier=stated.lower(), kind="unlisted", asks="read its text", source=""
    )
