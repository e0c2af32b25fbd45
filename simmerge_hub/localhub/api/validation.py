"""The check of a README's metadata that the client asks for before every commit with a card."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simmerge_hub.localhub import cards
from simmerge_hub.localhub.api.exchange import anybody, text, with_json


def validate(request: Request, payload: dict) -> Response:
    """POST /api/validate-yaml: errors with 400, a missing card as a warning; always JSON"""
    readme = text(payload, "content", "")
    errors = [{"message": message} for message in cards.check(readme)]
    empty = not errors and not cards.front_matter(readme)
    warnings = [{"message": "empty or missing yaml metadata in repo card"}] if empty else []
    return JSONResponse({"errors": errors, "warnings": warnings}, 400 if errors else 200)


LARGEST_CARD = 2**18
"""Bytes of a card that is looked at: the client asks without a token."""
_endpoint = with_json(validate, authorise=anybody, most=LARGEST_CARD)
routes = [Route("/api/validate-yaml", _endpoint, methods=["POST"])]
