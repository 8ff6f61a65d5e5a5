"""What a model string means."""

from __future__ import annotations

from itertools import permutations

import msgspec
import pytest

from clawbench.catalog.catalog import Catalog
from clawbench.errors import PlanError, RequestError
from clawbench.routing.reference import resolve
from tests.lab import offer

CATALOG = Catalog(
    [offer("a", model="llama-3.1-8b"), offer("b", model="llama-3.1-8b"), offer("c", model="odd@name")],
    display_names={"llama-3.1-8b": "Llama 3.1 8B"},
    aliases={"llama-3.1-8b": ("llama3",)},
)


@pytest.mark.parametrize("name", ["llama-3.1-8b", "LLAMA-3.1-8B", "Llama 3.1 8B", "llama  3.1 8b", "llama3"])
def test_id_display_name_and_alias_mean_the_model_in_any_case(name: str) -> None:
    reference = resolve(name, CATALOG)
    assert reference.model is not None
    assert (reference.model.id, reference.tags) == ("llama-3.1-8b", ())


@pytest.mark.parametrize("tag", ["token_rate", "token-rate", "tokenrate", "tokenRate", "throughput", "rate"])
def test_the_token_rate_tag_has_several_spellings(tag: str) -> None:
    assert resolve(f"llama3@{tag}", CATALOG).tags == ("token_rate",)


def test_tags_are_a_set_in_any_order() -> None:
    found = {resolve("llama3@" + "@".join(order), CATALOG).tags for order in permutations(["price", "latency", "rate"])}
    assert found == {("latency", "price", "token_rate")}
    assert resolve("llama3@price@price", CATALOG).tags == ("price",)


def test_spaces_around_a_tag_do_not_matter() -> None:
    assert resolve("Llama 3.1 8B @price", CATALOG).tags == ("price",)


def test_bare_tags_leave_the_model_open() -> None:
    reference = resolve("@price", CATALOG)
    assert (reference.model, reference.tags) == (None, ("price",))
    assert resolve("*", CATALOG) == resolve("*", CATALOG)
    assert resolve("*", CATALOG).model is None


def test_a_name_that_holds_an_at_sign_stays_usable() -> None:
    for text, tags in (("odd@name", ()), ("odd@name@price", ("price",))):
        reference = resolve(text, CATALOG)
        assert reference.model is not None
        assert (reference.model.id, reference.tags) == ("odd@name", tags)


def test_an_unknown_tag_is_a_400_that_lists_the_known_ones() -> None:
    known = (
        r'Unknown strategy tag "@fast" in "llama3@fast"\. Known tags: @balanced, @energy, @latency, @price, @token_rate'
    )
    with pytest.raises(RequestError, match=known) as raised:
        resolve("llama3@fast", CATALOG)
    assert (raised.value.status, raised.value.code, raised.value.param) == (400, "unknown_strategy_tag", "model")


def test_quality_is_a_tag_only_where_scores_are_configured() -> None:
    with pytest.raises(RequestError, match="Unknown strategy tag"):
        resolve("llama3@quality", CATALOG)
    scored = Catalog([offer("a", model="m", quality=0.8)])
    assert resolve("m@quality", scored).tags == ("quality",)


def test_balanced_means_the_three_tags() -> None:
    assert resolve("llama3@balanced", CATALOG).tags == ("latency", "price", "token_rate")


@pytest.mark.parametrize(
    ("text", "tags", "free_only"),
    [
        ("llama3:floor", ("price",), False),
        ("llama3:nitro", ("token_rate",), False),
        ("llama3:free", (), True),
        ("llama3:free@latency", ("latency",), True),
        ("LLAMA3:Nitro@price", ("price", "token_rate"), False),
    ],
)
def test_openrouters_suffixes_are_read(text: str, tags: tuple[str, ...], free_only: bool) -> None:
    reference = resolve(text, CATALOG)
    assert (reference.tags, reference.preferences.free_only) == (tags, free_only)


@pytest.mark.parametrize("text", ["a/llama-3.1-8b", "A/Llama 3.1 8B@price"])
def test_a_provider_prefix_leaves_that_providers_offers_only(text: str) -> None:
    reference = resolve(text, CATALOG)
    assert reference.model is not None
    assert (reference.model.id, reference.provider) == ("llama-3.1-8b", "a")


def test_a_providers_own_name_of_a_model_means_the_model() -> None:
    catalog = Catalog([msgspec.structs.replace(offer("a", model="m"), upstream_model="vendor/m-instruct")])
    reference = resolve("Vendor/M-Instruct", catalog)
    assert reference.model is not None
    assert (reference.model.id, reference.provider) == ("m", None)


def test_a_dated_name_is_found_by_the_form_of_its_owner() -> None:
    catalog = Catalog([offer("anthropic", model="claude-x"), offer("other", model="claude-x")])
    reference = resolve("claude-x-20250101", catalog)
    assert reference.model is not None
    assert (reference.model.id, reference.provider) == ("claude-x", "anthropic")


def test_further_models_are_fallbacks_in_order_and_unknown_ones_are_skipped() -> None:
    reference = resolve("llama3", CATALOG, models=["nope", "odd@name", "llama3"])
    assert [model.id for model in reference.fallbacks] == ["odd@name"]
    unknown = resolve("nope@price", CATALOG, models=["odd@name"])
    assert unknown.model is not None
    assert (unknown.model.id, unknown.tags) == ("odd@name", ("price",))


def test_what_nothing_explains_goes_to_the_fallback_chain() -> None:
    reference = resolve("nope", CATALOG, chain=["gone", "llama3", "odd@name"])
    assert reference.model is not None
    assert (reference.model.id, [model.id for model in reference.fallbacks]) == ("llama-3.1-8b", ["odd@name"])


@pytest.mark.parametrize(
    ("provider", "message"),
    [
        ("a", "provider must be an object"),
        ({"onyl": ["a"]}, "provider.onyl is not known"),
        ({"only": ["zzz"]}, 'provider.only names "zzz", which is no provider here. Known: a, b, c'),
        ({"only": ["a"], "ignore": ["A"]}, "name the same providers"),
        (
            {"order": ["a"], "ignore": ["a"], "allow_fallbacks": False},
            'begins with "a", which is among provider.ignore',
        ),
        (
            {"order": ["a"], "only": ["b"], "allow_fallbacks": False},
            'begins with "a", which is not among provider.only',
        ),
        ({"order": ["zzz"], "allow_fallbacks": False}, 'begins with "zzz", which is no provider here. Known: a, b, c'),
        ({"sort": "beauty"}, "provider.sort must be one of"),
        ({"max_price": {"prompt": -1}}, "max_price.prompt must be a price"),
        ({"max_price": {"prompt": "NaN"}}, "max_price.prompt must be a price"),
        ({"allow_fallbacks": 1}, "allow_fallbacks must be true or false"),
        ({"preferred_max_latency": 0}, "preferred_max_latency must be a number above 0"),
    ],
)
def test_a_wrong_preference_is_named(provider: object, message: str) -> None:
    with pytest.raises(RequestError, match=message) as raised:
        resolve("llama3", CATALOG, provider=provider)
    assert raised.value.status == 400


def test_an_unknown_model_is_a_404_that_names_the_nearest() -> None:
    with pytest.raises(RequestError, match=r'Did you mean "llama-3.1-8b"\?') as raised:
        resolve("llama-3.1-8bb", CATALOG)
    assert (raised.value.status, raised.value.code) == (404, "model_not_found")


def test_two_models_cannot_share_a_name() -> None:
    with pytest.raises(PlanError, match='the name "x" is used by models'):
        Catalog([offer("a", model="one"), offer("b", model="two")], aliases={"one": ("x",), "two": ("x",)})


def test_an_offer_cannot_stand_twice() -> None:
    with pytest.raises(PlanError, match="stands twice"):
        Catalog([offer("a"), offer("a")])


def test_the_chain_comes_after_the_models_that_the_client_gave_unless_it_wants_no_fallback() -> None:
    reference = resolve("llama3", CATALOG, models=["odd@name"], chain=["llama3", "odd@name"])
    assert [model.id for model in reference.fallbacks] == ["odd@name"]
    assert [model.id for model in resolve("llama3", CATALOG, chain=["odd@name"]).fallbacks] == ["odd@name"]
    assert resolve("llama3", CATALOG, chain=["odd@name"], provider={"allow_fallbacks": False}).fallbacks == ()
    assert resolve("@price", CATALOG, chain=["odd@name"]).fallbacks == ()


def test_a_hyphen_is_as_good_as_a_space_where_that_leaves_one_model() -> None:
    catalog = Catalog([offer("a", model="llama-4-scout"), offer("b", model="x-1"), offer("c", model="x 1")])
    found = resolve("Llama 4  Scout@latency@price", catalog)
    assert found.model is not None
    assert (found.model.id, found.tags) == ("llama-4-scout", ("latency", "price"))
    assert catalog.find("x_1") is None, "two models would fit"


def test_the_forms_of_names_can_be_set() -> None:
    catalog = Catalog([offer("mine", model="house-1")])
    with pytest.raises(RequestError):
        resolve("house-1-2026", catalog)
    reference = resolve("house-1-2026", catalog, patterns={"house-*": "mine"})
    assert reference.model is not None
    assert (reference.model.id, reference.provider) == ("house-1", "mine")


def test_tags_and_a_sort_that_asks_for_something_else_contradict_each_other() -> None:
    with pytest.raises(RequestError, match=r"provider.sort asks for @price, the model's tags for @latency"):
        resolve("llama3@latency", CATALOG, provider={"sort": "price"})
    assert resolve("llama3@latency@price", CATALOG, provider={"sort": "price"}).tags == ("latency", "price")


DESK = Catalog(
    [
        offer("anthropic", model="claude-sonnet-4-5"),
        offer("openai", model="gpt-4o"),
        offer("openai", model="o3-mini"),
        offer("ollama", model="llama3.1"),
    ]
)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("Claude-Sonnet-4-5-latest", "claude-sonnet-4-5"),
        ("gpt-4o-2024-08-06@latency", "gpt-4o"),
        ("o3-mini-2025-01-31", "o3-mini"),
        ("llama3.1:latest", "llama3.1"),
    ],
)
def test_a_version_of_a_model_is_the_model(name: str, model: str) -> None:
    found = resolve(name, DESK).model
    assert found is not None
    assert found.id == model


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("gpt-4o-mini", 'Did you mean "gpt-4o"?'),
        ("claude-opus-4-1", "Did you mean"),
        ("llama3.1:70b", 'Did you mean "llama3.1"?'),
        ("gpt-9", 'Did you mean "gpt-4o"?'),
        ("gpt-5.1-codex", 'Names of this form are openai\'s, whose nearest here is "gpt-4o".'),
        ("o1", 'Names of this form are openai\'s, whose nearest here is "o3-mini".'),
        ("gemini-2.0-flash@price", "Names of this form are gemini's, who has no offer here."),
        ("mixtral", "Names of this form are ollama's"),
        ("nonsense", "GET /v1/models"),
    ],
)
def test_another_model_of_a_family_is_not_served_in_its_place_and_the_nearest_is_named(name: str, told: str) -> None:
    with pytest.raises(RequestError) as raised:
        resolve(name, DESK)
    assert (raised.value.status, raised.value.code) == (404, "model_not_found")
    assert told in raised.value.message
