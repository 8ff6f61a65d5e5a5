"""Providers by address, and where an offer's base URL ends."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.catalog.providers import base_url_of, provider_of

# The scanner knows some hosts better than their addresses show, and one less well.
SCANNER_DIFFERS = {"127.0.0.1": "llamacpp", "localhost": "ollama", "api.writer.com": "api.writer.com"}


@pytest.mark.parametrize(
    ("url", "provider"),
    [
        ("https://api.groq.com/openai/v1/chat/completions", "groq"),
        ("https://API.Groq.com:443/openai/v1", "groq"),
        ("https://user:secret@api.groq.com/x", "groq"),
        ("https://my-name.openai.azure.com/openai/deployments/m/chat/completions", "azure-openai"),
        ("https://router.huggingface.co/v1/chat/completions", "huggingface"),
        ("https://us-central1-aiplatform.googleapis.com/v1", "vertex"),
        ("https://bedrock-runtime.<AWS_REGION>.amazonaws.com/model/m/converse", "bedrock"),
        ("https://aiplatform.us.rep.googleapis.com/v1/projects/p", "vertex"),
        ("https://eu.api.openai.com/v1/responses", "openai"),
        ("https://x.openai.azure.us/openai/deployments/m/chat/completions", "azure-openai"),
        ("https://models.inference.ai.azure.com/chat/completions", "github"),
        ("https://abc.us-east-1.aws.endpoints.huggingface.cloud/v1", "huggingface"),
        ("http://localhost:11434/api/chat", "ollama"),
        ("http://[::1]:11434/v1", "ollama"),
        ("http://127.0.0.1:8000/v1", "localhost"),
        ("https://llm.example.org:8443/v1", "llm.example.org:8443"),
        ("<GPUSTACK_API_BASE>/chat/completions", "gpustack"),
        ("<OLLAMA_API_BASE>/chat/completions", "ollama"),
        ("", ""),
    ],
)
def test_a_provider_is_known_by_its_host(url: str, provider: str) -> None:
    assert provider_of(url) == provider


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://api.openai.com/v1/chat/completions", "https://api.openai.com/v1"),
        ("https://api.openai.com/v1/chat/completions/?x=1#stream", "https://api.openai.com/v1"),
        ("https://x.openai.azure.com//openai/deployments/a%20b/chat/completions?v=1", "https://x.openai.azure.com"),
        ("https://x.openai.azure.com/openai/v1/chat/completions", "https://x.openai.azure.com/openai/v1"),
        ("https://api.writer.com/v1/chat", "https://api.writer.com/v1"),
        ("https://HOST/Keep/Case", "https://host/Keep/Case"),
        ("<OLLAMA_API_BASE>/chat/completions", "<OLLAMA_API_BASE>"),
    ],
)
def test_a_base_url_ends_before_the_dialects_path(url: str, base: str) -> None:
    assert base_url_of(url) == base


def test_other_dialects_hand_in_their_own_paths() -> None:
    url = "https://bedrock-runtime.us-east-1.amazonaws.com/model/a.b-v1:0/converse"
    assert base_url_of(url, "/model/{model}/converse") == "https://bedrock-runtime.us-east-1.amazonaws.com"


@given(st.text(max_size=30) | st.text("<>:/?#@[]a.", max_size=30))
def test_no_address_is_too_odd(url: str) -> None:
    assert provider_of(url) == provider_of(url).lower()
    assert not base_url_of(url, "/chat").endswith("/chat")


def test_the_catalogue_of_recordings_agrees(shared: Path) -> None:
    with (shared / "real-cassettes" / "CATALOGUE.csv").open(newline="") as catalogue:
        rows = {(row["host"], row["provider"]) for row in csv.DictReader(catalogue) if row["host"]}
    differ = {host: provider for host, provider in rows if provider_of(f"https://{host}/v1") != provider}
    assert differ == SCANNER_DIFFERS
