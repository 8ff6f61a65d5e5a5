"""Keys on calls: the right header for each provider, AWS's signatures, and nothing shown."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.transports.network_auth import AwsKeys, HostAccess, Secret, signed, style_of

AT = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
# The credentials of AWS's own published test suite for Signature Version 4.
EXAMPLE = AwsKeys(
    access_key_id=Secret("AKIDEXAMPLE"),
    secret_access_key=Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
    region="us-east-1",
    service="service",
)
URL = "https://example.amazonaws.com"


def test_a_key_goes_where_its_provider_wants_it() -> None:
    def sent(provider: str) -> dict[str, str]:
        access = HostAccess(style=style_of(provider), key=Secret("the-key"))
        return access.headers("POST", "https://h.example/x", b"{}", at=AT)

    assert sent("openai") == {"authorization": "Bearer the-key"}
    assert sent("some-new-provider.example") == {"authorization": "Bearer the-key"}
    assert sent("anthropic") == {"x-api-key": "the-key"}
    assert sent("gemini") == {"x-goog-api-key": "the-key"}
    assert sent("azure-openai") == {"api-key": "the-key"}
    assert sent("ollama") == {}
    assert HostAccess().headers("POST", "https://h.example/x", b"{}", at=AT) == {}


@pytest.mark.parametrize(
    ("method", "path", "signature"),
    [
        ("GET", "/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "/", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        ("GET", "/?Param2=value2&Param1=value1", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
    ],
)
def test_signatures_are_those_of_awss_test_suite(method: str, path: str, signature: str) -> None:
    headers = signed(EXAMPLE, method, URL + path, {}, b"", at=AT)
    assert headers == {
        "x-amz-date": "20150830T123600Z",
        "authorization": (
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
            f"SignedHeaders=host;x-amz-date, Signature={signature}"
        ),
    }


segments = st.text(st.sampled_from("abcXYZ019-_.~%:+ é"), min_size=1, max_size=12).filter(
    lambda text: text.strip(".") != ""
)


@given(path=st.lists(segments, min_size=1, max_size=3), body=st.binary(max_size=50), session=st.booleans())
def test_signatures_are_those_of_awss_own_library(path: list[str], body: bytes, session: bool) -> None:
    auth = pytest.importorskip("botocore.auth")
    awsrequest = pytest.importorskip("botocore.awsrequest")
    credentials = pytest.importorskip("botocore.credentials")
    url = f"{URL}/model/" + "/".join(quote(part, safe="-_.~") for part in path)
    keys = AwsKeys(
        access_key_id=EXAMPLE.access_key_id,
        secret_access_key=EXAMPLE.secret_access_key,
        session_token=Secret("a-session-token") if session else None,
        region="eu-west-1",
    )
    ours = HostAccess(style="sigv4", aws=keys).headers("POST", url, body, at=AT)

    request = awsrequest.AWSRequest("POST", url, data=body)
    request.context["timestamp"] = ours["x-amz-date"]
    theirs = auth.SigV4Auth(
        credentials.Credentials(
            EXAMPLE.access_key_id.reveal(),
            EXAMPLE.secret_access_key.reveal(),
            "a-session-token" if session else None,
        ),
        "bedrock",
        "eu-west-1",
    )
    request.headers["X-Amz-Date"] = ours["x-amz-date"]
    if session:
        request.headers["X-Amz-Security-Token"] = "a-session-token"
    signature = theirs.signature(theirs.string_to_sign(request, theirs.canonical_request(request)), request)
    assert ours["authorization"].endswith(f"Signature={signature}")


def test_what_is_secret_shows_itself_to_nobody_who_does_not_ask() -> None:
    access = HostAccess(style="sigv4", aws=EXAMPLE)
    assert "wJalrXUtnFEMI" not in f"{access!r}{access}{EXAMPLE!r}{EXAMPLE.secret_access_key}"
    assert set(access.secrets) == {"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
