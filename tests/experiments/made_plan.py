"""A small plan of emulated offers in a temporary folder, for tests that must not hang on what ships."""

from __future__ import annotations

import json
from pathlib import Path

OFFERS = """
[[offers]]
provider = "{name}"
model = "m"
base_url = "https://{name}.example/v1"
usd_per_mtok = {{ input = {price}, output = {price} }}
profile = {{ ttft_s_median = {ttft}, ttft_s_sigma = 0.2, token_rate_median = {rate}, token_rate_sigma = 0.2, source = "made" }}
"""  # noqa: E501  (an inline table is one line)

HEAD = """
name = "made"
strategies = ["random"]
[workload]
model = "m"
prompts = "prompts.jsonl"
requests = 100
rate_rps = 6
stream = 0.7
[replay]
matching = "synthetic"
"""


def made_plan(folder: Path, more: str = "") -> Path:
    """The plan's file: a cheap offer, a quick one and one between; `more` is put at its end."""
    prompts = [
        {"id": f"p{number}", "kind": "short", "request": {"messages": [{"role": "user", "content": text}]}}
        for number, text in enumerate(("How deep is the sea?", "Say hello.", "Which river is the longest?"))
    ]
    (folder / "prompts.jsonl").write_text("\n".join(map(json.dumps, prompts)))
    offers = [("cheap", 0.1, 0.9, 40), ("quick", 2.0, 0.1, 300), ("middle", 0.5, 0.4, 100)]
    parts = [OFFERS.format(name=name, price=price, ttft=ttft, rate=rate) for name, price, ttft, rate in offers]
    path = folder / "made.toml"
    path.write_text("".join([HEAD, *parts, more]))
    return path
