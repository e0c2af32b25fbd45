"""Five domains in natural language: variants of each, as seeded sources of examples."""

from simmerge_hub.zoo.real import numbers, orders, passages, phrases, snippets
from simmerge_hub.zoo.tasks import Draw

TEXT_DOMAINS: dict[str, dict[str, Draw]] = {
    "math": numbers.VARIANTS,
    "code": snippets.VARIANTS,
    "multilingual": phrases.VARIANTS,
    "rag": passages.VARIANTS,
    "instruct": orders.VARIANTS,
}
"""Domain -> variant -> source of examples; no variant is called as one of the nano tasks."""
