"""What a model string means."""

from __future__ import annotations

from itertools import permutations

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
    with pytest.raises(
        RequestError, match=r'Unknown strategy tag "@fast" in "llama3@fast". Known tags: @latency'
    ) as raised:
        resolve("llama3@fast", CATALOG)
    assert (raised.value.status, raised.value.code, raised.value.param) == (400, "unknown_strategy_tag", "model")


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
