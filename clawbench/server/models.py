"""The model list: `GET /v1/models` and `GET /v1/models/{id}`."""

from __future__ import annotations

from typing import Any

import msgspec

from clawbench.catalog.catalog import Catalog, Model
from clawbench.errors import RequestError
from clawbench.server.asgi import Send, send_json


def _entry(model: Model, created: int) -> dict[str, Any]:
    owners = sorted({offer.provider for offer in model.offers})
    return {
        "id": model.id,
        "object": "model",
        "created": created,
        "owned_by": owners[0] if len(owners) == 1 else "clawbench",
        "name": model.name,
        "aliases": list(model.aliases),
        "context_window": model.context_window,
        "max_output_tokens": model.max_output_tokens,
        "capabilities": model.capabilities,
        "free": model.free,
    }


class Models:
    """The list never changes while a server runs, so it is written once."""

    def __init__(self, catalog: Catalog, *, created: int) -> None:
        """`created`: Unix seconds that every entry shows."""
        self._catalog, self._created = catalog, created
        entries = [_entry(catalog.models[model_id], created) for model_id in sorted(catalog.models)]
        self._list = msgspec.json.encode({"object": "list", "data": entries})

    async def list(self, send: Send) -> None:
        await send_json(send, self._list)

    async def one(self, name: str, send: Send) -> None:
        """One entry by id, display name or alias; raises `RequestError` 404."""
        model = self._catalog.find(name)
        if model is None:
            raise RequestError(
                f'The model "{name}" is not known.{self._catalog.nearest(name)}',
                status=404,
                code="model_not_found",
                type="invalid_request_error",
                param="model",
            )
        await send_json(send, msgspec.json.encode(_entry(model, self._created)))
