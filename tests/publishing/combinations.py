"""Combinations of parents' licences and what follows for their merge, as a table to be read.

A parent is written `gpl-3.0`; `gated gemma`; `mit & apache-2.0` (a list); `other called NAME`;
`other at ADDRESS`; `other`; `none`. The licence of the merge is an identifier of the Hub, with the
name in brackets where that is `other`; `all apply`; `conflict`; `not known`.
"""

from dataclasses import dataclass
from typing import Any

DUTIES = {
    "notice": "keep its copyright notice",
    "credit": "name its author",
    "changes": "mark changed files",
    "terms": "pass on",
    "same": "the whole merge under the same licence",
    "source": "offer its source",
    "uses": ("forbidden uses", "acceptable use policy", "prohibited use policy"),
    "no money": "no commercial use",
    "built with": 'show "Built with',
    "name": "begin the model's name with",
    "users": "million monthly users",
    "family": "do not improve other language models",
    "read": "read its text",
    "none shared": "changed versions must not be shared",
}
"""The words of the table -> what stands in the duties on the card."""
TABLE = """
parents                                          | licence                   | duties                                              | push
mit + mit                                        | mit                       | notice                                              | goes
mit + apache-2.0                                 | apache-2.0                | notice, changes                                     | goes
cc0-1.0 + cc0-1.0                                | cc0-1.0                   |                                                     | goes
cc0-1.0 + mit                                    | mit                       | notice                                              | goes
pddl + cc-by-4.0                                 | cc-by-4.0                 | credit                                              | goes
bsd-3-clause + isc + mit                         | bsd-3-clause              | notice                                              | goes
cdla-permissive-2.0 + apache-2.0                 | apache-2.0                | notice, changes                                     | goes
apache-2.0 + cc-by-4.0 + mit                     | apache-2.0                | notice, credit, changes                             | goes
apache-2.0 + cc-by-nc-4.0                        | cc-by-nc-4.0              | notice, credit, changes, no money                   | goes
cc-by-nc-2.0 + cc-by-nc-4.0                      | cc-by-nc-4.0              | credit, no money                                    | goes
mit + cc-by-sa-4.0                               | cc-by-sa-4.0              | notice, credit, same                                | goes
cc-by-sa-3.0 + cc-by-sa-4.0                      | cc-by-sa-4.0              | credit, same                                        | goes
cc-by-nc-4.0 + cc-by-nc-sa-4.0 + mit             | cc-by-nc-sa-4.0           | notice, credit, same, no money                      | goes
cc-by-sa-4.0 + cc-by-nc-4.0                      | conflict                  | credit, same, no money                              | stops
cc-by-sa-4.0 + cc-by-nc-sa-4.0                   | conflict                  | credit, same, no money                              | stops
odbl + cc-by-sa-4.0                              | conflict                  | notice, credit, same                                | stops
cc-by-nd-4.0 + cc-by-nd-4.0                      | conflict                  | none shared                                         | stops
mit + apache-2.0 + cc-by-nc-nd-4.0               | conflict                  | notice, changes, no money, none shared              | stops
apache-2.0 + gpl-3.0                             | gpl-3.0                   | notice, changes, same                               | goes
apache-2.0 + gpl-2.0                             | conflict                  | notice, changes, same                               | stops
apache-2.0 + agpl-3.0                            | agpl-3.0                  | notice, changes, same, source                       | goes
gpl-3.0 + agpl-3.0 + apache-2.0                  | agpl-3.0                  | notice, changes, same, source                       | goes
gpl-2.0 + gpl-3.0                                | conflict                  | notice, same                                        | stops
lgpl-3.0 + gpl-3.0                               | gpl-3.0                   | notice, same                                        | goes
mpl-2.0 + apache-2.0                             | mpl-2.0                   | notice, changes, same                               | goes
mpl-2.0 + gpl-3.0                                | gpl-3.0                   | notice, same                                        | goes
eupl-1.2 + gpl-3.0                               | gpl-3.0                   | notice, same                                        | goes
ms-pl + gpl-3.0                                  | conflict                  | notice, same                                        | stops
cc-by-sa-4.0 + gpl-3.0                           | gpl-3.0                   | notice, credit, same                                | goes
cc-by-nc-4.0 + agpl-3.0                          | conflict                  | notice, credit, same, source, no money              | stops
llama2 + llama2                                  | llama2                    | terms, uses, users, family                          | goes
llama2 + apache-2.0                              | llama2                    | notice, changes, terms, uses, users, family         | goes
llama3 + llama3                                  | llama3                    | terms, uses, built with, name, users, family        | goes
llama3 + llama3.1                                | conflict                  | terms, uses, built with, name, users, family        | stops
llama3.1 + llama3.1 + mit                        | llama3.1                  | notice, terms, uses, built with, name, users        | goes
llama3.1 + llama3.2                              | all apply                 | terms, uses, built with, name, users                | goes
llama3.2 + apache-2.0                            | llama3.2                  | notice, changes, terms, uses, built with, name, users | goes
llama3.1 + llama3.3 + apache-2.0                 | all apply                 | notice, changes, terms, uses, built with, name, users | goes
llama3.3 + cc-by-nc-4.0                          | all apply                 | credit, terms, uses, no money, built with, name, users | goes
llama3.1 + gpl-3.0                               | conflict                  | notice, terms, same, uses, built with, name, users  | stops
llama2 + gemma                                   | conflict                  | changes, terms, uses, users, family                 | stops
gemma + gemma                                    | gemma                     | changes, terms, uses                                | goes
gated gemma + apache-2.0                         | gemma                     | notice, changes, terms, uses                        | goes
gemma + llama3.1                                 | all apply                 | changes, terms, uses, built with, name, users       | goes
gemma + cc-by-sa-4.0                             | conflict                  | credit, changes, terms, same, uses                  | stops
other called tongyi-qianwen + apache-2.0         | other (tongyi-qianwen)    | notice, changes, terms, users, family               | goes
other called tongyi-qianwen + deepseek           | conflict                  | changes, terms, uses, users, family                 | stops
other called qwen + apache-2.0                   | other (qwen)              | notice, changes, terms, built with, users           | goes
other called qwen + other called qwen-research   | all apply                 | changes, terms, no money, built with, users         | goes
other called qwen-research + apache-2.0 + mit    | other (qwen-research)     | notice, changes, terms, no money, built with        | goes
other called deepseek + mit                      | other (deepseek)          | notice, changes, terms, uses                        | goes
other called deepseek + llama3.1                 | all apply                 | changes, terms, uses, built with, name, users       | goes
other called mrl + apache-2.0                    | other (mrl)               | notice, changes, terms, no money                    | goes
other called mrl + other called mnpl             | all apply                 | changes, terms, no money                            | goes
other called mrl + agpl-3.0                      | conflict                  | notice, changes, terms, same, source, no money      | stops
openrail + apache-2.0                            | openrail                  | notice, changes, terms, uses                        | goes
bigcode-openrail-m + bigscience-openrail-m       | all apply                 | terms, uses                                         | goes
creativeml-openrail-m + gpl-3.0                  | conflict                  | notice, terms, same, uses                           | stops
other called Falcon LLM + mit                    | all apply                 | notice, read                                        | goes
other called Falcon LLM + other called Falcon LLM | other (falcon-llm)       | read                                                | goes
other called Falcon LLM + gpl-3.0                | conflict                  | notice, same, read                                  | stops
other at https://a.example/L + mit               | all apply                 | notice, read                                        | goes
other at https://a.example/L + other at https://a.example/L | other          | read                                                | goes
other at https://a.example/L + other at https://b.example/L | all apply      | read                                                | goes
other + mit                                      | not known                 | notice                                              | goes
mit + none                                       | not known                 | notice                                              | goes
unknown + apache-2.0                             | not known                 | notice, changes                                     | goes
none + none + none                               | not known                 |                                                     | goes
none + cc-by-nd-4.0                              | conflict                  | none shared                                         | stops
mit & apache-2.0 + mit                           | apache-2.0                | notice, changes                                     | goes
apache-2.0 & cc-by-nc-4.0 + mit                  | cc-by-nc-4.0              | notice, credit, changes, no money                   | goes
gpl-2.0 & apache-2.0 + gpl-2.0                   | conflict                  | notice, changes, same                               | stops
gated llama3.1 + gated llama3.1                  | llama3.1                  | terms, uses, built with, name, users                | goes
""".strip()  # noqa: E501


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """A row: the cards of the parents, and what is expected of their merge."""

    parents: str
    licence: str
    duties: frozenset[str]
    stops: bool

    @property
    def cards(self) -> dict[str, dict[str, Any]]:
        """Name -> front matter."""
        return {f"org/{n}": card(p) for n, p in zip("abc", self.parents.split(" + "), strict=False)}


def rows() -> list[Combination]:
    """The rows of the table."""
    cells = [[each.strip() for each in line.split("|")] for line in TABLE.splitlines()[1:]]
    return [
        Combination(
            parents=parents,
            licence=licence,
            duties=frozenset(each for each in duties.split(", ") if each),
            stops={"stops": True, "goes": False}[push],
        )
        for parents, licence, duties, push in cells
    ]


def card(parent: str) -> dict[str, Any]:
    """The front matter of a parent as the table writes it."""
    gated, _, plain = parent.rpartition("gated ")
    more = {"extra_gated_prompt": "Do you agree?"} if gated or parent.startswith("gated ") else {}
    if plain == "none":
        return more
    licence, _, name = plain.partition(" called ")
    licence, _, link = licence.partition(" at ")
    stated: str | list[str] = licence.split(" & ") if " & " in licence else licence
    more |= {"license_name": name} if name else {}
    return {"license": stated, **more} | ({"license_link": link} if link else {})
