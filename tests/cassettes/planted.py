"""Fourteen recordings, each with a secret in another place, none of which may be found in anything that is written."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any, Final
from urllib.parse import quote

from clawbench.cassettes.interaction import Interaction
from tests.cassettes.made import URL, exchange

SECRETS: Final = {
    "authorization": "kP3zQ9vN5xT7rB1mW8yD",
    "x-api-key": "hJ4sL0cF6gV2nK9bX5aE",
    "x-goog-api-key": "mR8tU1iO3pZ6qY4wC7dS",
    "api-key": "bG5fH2jD9kA0lM3nV6xQ",
    "cookie": "eT1yU7iO4pL8kJ2hG5fD",
    "query key": "wZ6xC3vB9nM1qA8sD4fR",
    "user info": "rY2uI5oP0aS7dF3gH9jK",
    "nested JSON key": "cV8bN4mQ1wE6rT9yU3iO",
    "organisation header": "org-pL5kJ1hG8fD4sA0zX7cV",
    "echoed body": "sk-tR9eW2qA6sD3fG7hJ1kL5zX8",
    "gzip body": "sk-nM4bV0cX7zL2kJ9hG5fD1sA6",
    "form field": "qW3eR7tY1uI5oP9aS2dF",
    "set-cookie": "gH6jK0lZ4xC8vB2nM5qW",
    "bearer in text": "iO9pA3sD7fG1hJ5kL0zX",
}


def recordings() -> dict[str, Interaction]:
    """An exchange for each kind; apart from the secret there is nothing in them to be replaced."""
    made = {name: _planted(name, secret) for name, secret in SECRETS.items()}
    return {name: exchange(name, **options) for name, options in made.items()} | {"form field": _form()}


def _planted(name: str, secret: str) -> dict[str, Any]:
    body = json.dumps({"say": f"you sent {secret}", "tokens": 3}).encode()
    options: dict[str, dict[str, Any]] = {
        "query key": {"url": f"{URL}?alt=json&key={secret}"},
        "user info": {"url": f"https://someone:{secret}@api.plain.test/v1/ask"},
        "nested JSON key": {"metadata": {"deep": [{"upstream": json.dumps({"api_key": secret})}]}},
        "echoed body": {"body": body},
        "gzip body": {"body": body},
        "set-cookie": {"headers": {"set-cookie": f"session={secret}; Path=/; HttpOnly"}},
        "bearer in text": {"body": json.dumps({"say": f"use Authorization: Bearer {secret}", "tokens": 1}).encode()},
        "organisation header": {"headers": {"openai-organization": secret}},
    }
    return options.get(name, {})


def _form() -> Interaction:
    item = exchange("form field", url="https://api.plain.test/oauth2")
    body = f"grant_type=client_credentials&client_secret={quote(SECRETS['form field'])}&scope=all"
    return Interaction(
        file=item.file,
        index=0,
        method="POST",
        url=item.url,
        request_headers={"content-type": "application/x-www-form-urlencoded"},
        request_body=body.encode(),
        status=200,
        headers={"content-type": "application/json"},
        body=b"{}",
    )


def har() -> bytes:
    """All fourteen in one HTTP archive, with request headers, and the gzip body as gzip."""
    entries = []
    for name, item in recordings().items():
        sent = dict(item.request_headers)
        if name in ("authorization", "x-api-key", "x-goog-api-key", "api-key", "cookie"):
            sent[name] = {"authorization": "Bearer ", "cookie": "id="}.get(name, "") + SECRETS[name]
        body = gzip.compress(item.body) if name == "gzip body" else item.body
        came = {**item.headers, **({"content-encoding": "gzip"} if name == "gzip body" else {})}
        entries.append(
            {
                "request": {
                    "method": item.method,
                    "url": item.url,
                    "headers": [{"name": key, "value": value} for key, value in sent.items()],
                    "postData": {"text": item.request_body.decode()},
                },
                "response": {
                    "status": item.status,
                    "headers": [{"name": key, "value": value} for key, value in came.items()],
                    "content": {"text": base64.b64encode(body).decode(), "encoding": "base64"},
                },
                "timings": {"send": 1, "wait": 250, "receive": 500},
            }
        )
    return json.dumps({"log": {"entries": entries}}).encode()


def leaked(data: bytes) -> list[str]:
    """The kinds whose secret stands in these bytes, as it is or in base64 at any offset."""
    found = []
    for name, secret in SECRETS.items():
        shifted = [base64.b64encode(bytes(shift) + secret.encode())[4:-4] for shift in range(3)]
        if any(form in data for form in (secret.encode(), quote(secret).encode(), *shifted)):
            found.append(name)
    return found
