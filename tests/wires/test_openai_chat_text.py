"""Plain pieces of text: read by type, alone or many at once, as the tolerant walk reads them one by one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.types import Delta
from clawbench.wires.openai_chat_stream import OpenAIChatStream
from tests.wires.made import DONE, LOOSE, MESSAGES, USAGE, chunk, ended, shown


def raw(choice: str, rest: str = "") -> bytes:
    return b'data: {"id":"a","model":"m","choices":[%b]%b}\n\n' % (
        choice.encode(),
        rest.encode("utf-8", "surrogatepass"),
    )


def said(text: str = '"x"', delta: str = "", choice: str = '"index":0') -> str:
    return f'{{{choice},"delta":{{"content":{text}{delta}}}}}'


EVENTS = [
    *[raw(said(text)) for text in ('"x"', '""', "null", '"é漢"', r'"\n\u00e9"', r'"\ud83d\ude00"', "1", "[]")],
    raw(said(r'"\ud800"')),
    *[raw(said(delta=more)) for more in (',"role":"assistant"', ',"role":3', ',"tool_calls":null', ',"tool_calls":[]')],
    *[raw(said(delta=more)) for more in (',"reasoning":"y"', ',"audio":{"data":"z"}', ',"chatter":1', ',"refusal":""')],
    *[raw(said(choice=f'"index":{index}')) for index in ("1", "-1", "2.0", "true", "null", '"0"', "1e400")],
    *[raw(said(choice=f'"index":0,{more}')) for more in ('"finish_reason":""', '"finish_reason":"stop"', '"error":""')],
    *[raw(said(choice=f'"index":0,{more}')) for more in ('"logprobs":{}', '"logprobs":{"content":[]}', '"message":{}')],
    *[raw(said(), rest) for rest in (',"usage":null', ',"usage":{}', ',"usage":{"prompt_tokens":1}')],
    *[raw(said(), rest) for rest in (',"x_groq":null', ',"x_groq":{"usage":{"prompt_tokens":1}}')],
    *[raw(said(), rest) for rest in (',"timings":{}', ',"error":{}', ',"error":1')],
    *[raw(said(), f',"more":{value}') for value in ("[" * 70 + "]" * 70, "NaN", r'"\ud800"', '"\udcff"', "3")],
    *[raw(choices) for choices in ("", f"{said()},{said()}", "1", "null", '{"index":0}', '{"index":0,"delta":null}')],
    b'data: {"choices":[{"delta":{"content":"nameless"}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"content":"x"}}],"choices":[]}\n\n',
    b'data:{"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n',
    b"data: [DONE]\n\n",
    b"data: \n\n",
    b'event: error\ndata: {"message":"x"}\n\n',
]  # fmt: skip


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_is_read_the_same_alone_in_its_chunk_and_among_others(event: bytes) -> None:
    whole, single = OpenAIChatStream(), OpenAIChatStream()
    events = [raw(said()), raw(said()), event, raw(said())]  # into a stream that is named, of a choice that speaks
    expected = shown(whole.feed(b"".join(events)))
    assert shown(delta for event in events for delta in single.feed(event)) == expected
    assert ended(single) == ended(whole)


X = said().encode()
HALVES = [  # unreadable each, and together what two events would be
    (b'data: {"choices":[%b]}{"a":[{}\n\n' % X, b'data: {}],"choices":[%b]}\n\n' % X),
    (b'data: {"choices":[%b]},{"a":{}\n\n' % X, b'data: {"choices":[%b]}}\n\n' % X),
    (b'data: {"choices":[%b]}{"choices":[%b]}\n\n' % (X, X), raw(said())),
]  # fmt: skip


@pytest.mark.parametrize(
    "odd", [*[(event,) for event in EVENTS], *HALVES, (raw(said(), ',"a":' + "[" * 62 + "]" * 62),)]
)
@pytest.mark.parametrize("behind", [0, 3])
def test_many_events_at_once_are_read_as_each_by_itself(odd: tuple[bytes, ...], behind: int) -> None:
    chunks = [raw(said(f'"{number}"')) for number in range(9)] + [*odd] + [raw(said())] * behind
    single, many = OpenAIChatStream(), OpenAIChatStream()
    expected = shown(delta for chunk in chunks for delta in single.feed(chunk))
    deltas = many.feed(chunks[0])
    rest = b"".join(chunks[1:])
    pieces, length = many.texts(rest)
    assert pieces or behind or len(odd) > 1 or b'"content"' in odd[0]
    deltas += [Delta(content=piece) for piece in pieces] + many.feed(rest[length:])
    assert shown(deltas) == expected
    assert ended(many) == ended(single)


FIRST = chunk({"role": "assistant", "content": "a"})
PIECES = st.text(min_size=1) | st.sampled_from(['"', "\\", "\n\n", '"content":"x"', "data: {", "\ud83d", "}", "é"])


def frame(piece: str, **odd: Any) -> bytes:
    """An event of text; `odd` changes how it is written, not what it says."""
    separators = (",", ":") if odd.get("tight", True) else (", ", ": ")
    delta = {**odd.get("delta", {}), "content": piece}
    choice = {"index": odd.get("index", 0), "delta": delta, **odd.get("choice", {"finish_reason": None})}
    body = {"id": "c-1", **odd.get("top", {}), "choices": [choice], **odd.get("tail", {})}
    text = json.dumps(body, separators=separators, ensure_ascii=odd.get("ascii", True))
    return b"data: " + text.encode("utf-8", "surrogatepass") + b"\n\n"


STYLES: st.SearchStrategy[dict[str, Any]] = st.just({}) | st.fixed_dictionaries(
    {},
    optional={
        "tight": st.booleans(),
        "ascii": st.booleans(),
        "index": st.sampled_from([0, 0, 0, 1]),
        "delta": st.sampled_from([{"role": "assistant"}, {"refusal": None}, {"content": "before"}]),
        "choice": st.sampled_from([{}, {"logprobs": None, "finish_reason": None}, {"logprobs": {"content": []}}]),
        "top": st.sampled_from([{"model": "m-1"}, {"odd": "\n"}, {"odd": {"content": "a"}}]),
        "tail": st.sampled_from([{"usage": None}, {"obfuscation": "x"}, {"odd": "\n"}, {"odd": {"content": "a"}}]),
    },
)
TWISTS = [
    (b'"index":0', b'"index":1'),
    (b'"finish_reason":null', b'"finish_reason":"st"'),
    (b'"finish_reason":null', b'"finish_reason":"stop"'),
    (b'"c-1"', b'"c-2"'),
    (b'"content"', b'"\\u0063ontent"'),
    (b"data: {", b"datA: {"),
    (b"\n\n", b"\n"),
    (b"\n\n", b"\r\n\r\n"),
    (b"\n\n", b"\n\n\n"),
    (b"\n\n", b"\n:\n"),
    (b'"choices":', b'"choices":\r'),
    *[
        (b'"xyz"', text)
        for text in (
            b'"x" "y"', b'"x","y"', b'"xyz', b'xyz"', b"", b'""', b"1", b"null", b'"\xff"', b'"\t"',
            b'"x","content":"y"',
        )
    ],
]  # fmt: skip
ODD = st.one_of(
    st.builds(chunk, MESSAGES, finish=st.sampled_from([None, None, "stop", "length"])),
    st.builds(frame, PIECES, top=st.fixed_dictionaries({"odd": LOOSE})),
    st.sampled_from([DONE, b": keep-alive\n\n", b"\n", b"event: error\n", b"\r\n", b"data: {\n\n"]),
    st.just(chunk(usage=USAGE)),
    st.binary(max_size=12),
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Text in one way of writing, and now and then an event of another kind or way among it."""
    style = draw(STYLES)
    likes = st.builds(frame, PIECES, **{key: st.just(value) for key, value in style.items()})
    twisted = st.builds(lambda twist: frame("xyz", **style).replace(*twist), st.sampled_from(TWISTS))
    first, others = draw(likes), draw(st.lists(likes | likes | twisted | ODD, max_size=6))
    body = b"".join([first, *others])
    return body[: draw(st.just(len(body)) | st.integers(0, len(body)))]


@given(streams())
def test_a_run_says_what_its_events_say_one_by_one(rest: bytes) -> None:
    at_once, one_by_one = OpenAIChatStream(), OpenAIChatStream()
    at_once.feed(FIRST)
    one_by_one.feed(FIRST)
    pieces, length = at_once.texts(rest)
    assert bool(pieces) == bool(length)
    found = [Delta(content=piece) for piece in pieces] + at_once.feed(rest[length:])
    assert shown(found) == shown(one_by_one.feed(rest))
    assert ended(at_once) == ended(one_by_one)


@given(st.lists(PIECES.filter(str.isprintable), min_size=1), st.booleans(), st.booleans())
def test_all_of_a_run_is_read_at_once(pieces: list[str], tight: bool, is_ascii: bool) -> None:
    decoder = OpenAIChatStream()
    decoder.feed(FIRST)
    body = b"".join(frame(piece, tight=tight, ascii=is_ascii) for piece in pieces)
    ending = frame("", tight=tight, ascii=is_ascii) + chunk({}, finish="stop") + DONE
    assert decoder.texts(body + ending) == (pieces, len(body))


A, B = frame("xyz"), b'"xyz"'
HIDDEN = frame("xyz", top={"odd": {"content": "xyz"}})
HIDDEN = HIDDEN[:50] + HIDDEN[50:].replace(b'"content"', b'"\\u0063ontent"')  # of the two, the delta's


@pytest.mark.parametrize(
    "body",
    [
        A + A.replace(B, b'""') + A,
        A.replace(B, b'"a') + A.replace(B, b'b"') + A.replace(B, b'"x","y"'),
        A + A.replace(B, b'"a') + A.replace(B, b'b"') + A.replace(B, b'"x","y"'),
        frame("xyz", index=1) * 2,
        A + A.replace(b'"index":0', b'"index":1') + A,
        A + A.replace(B, b'"x","y"'),
        A.replace(b'"choices":', b'"choices":\r') * 2,
        frame("a", tail={"filler": "x"})[:-2] + b"\n:\n" + frame("b", tail={"filler": "xy"}),
    ],
    ids=[
        "an empty piece", "torn pieces first", "torn pieces", "another choice",
        "another choice between", "two strings", "a line end within", "a comment between",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_run_is_read_event_by_event(body: bytes) -> None:
    decoder = OpenAIChatStream()
    decoder.feed(FIRST)
    assert decoder.texts(body) == ([], 0)


def test_what_is_read_is_the_deltas_text_and_not_another_field_of_that_name() -> None:
    decoder = OpenAIChatStream()
    decoder.feed(FIRST)
    body = HIDDEN + HIDDEN.replace(B, b'"other"', 1)
    assert decoder.texts(body) == (["xyz", "xyz"], len(body))


@pytest.mark.parametrize("style", [{}, {"choice": {"finish_reason": None, "logprobs": None}}, {"delta": {"role": "a"}}])
def test_events_that_each_carry_a_filler_of_their_own_are_read_at_once(style: dict[str, Any]) -> None:
    decoder = OpenAIChatStream()
    decoder.feed(FIRST)
    pieces = ["a", '"', "é", "\\"]
    body = b"".join(frame(piece, tail={"obfuscation": "x" * number}, **style) for number, piece in enumerate(pieces))
    assert decoder.texts(body + chunk({}, finish="stop") + DONE) == (pieces, len(body))


def test_nothing_is_read_at_once_before_the_answer_has_begun_or_after_it_has_ended() -> None:
    decoder, body = OpenAIChatStream(), frame("x") * 3
    assert decoder.texts(body) == ([], 0)
    decoder.feed(FIRST + chunk({}, finish="stop"))
    assert decoder.texts(body) == ([], 0)


@pytest.mark.parametrize("held", [b"data: {", b"event: error\n", b"data: {}\n"])
def test_nothing_is_read_at_once_within_an_event(held: bytes) -> None:
    decoder = OpenAIChatStream()
    decoder.feed(FIRST + held)
    assert decoder.texts(frame("x") * 3) == ([], 0)


def test_an_event_that_is_too_long_ends_the_stream_as_it_would_one_by_one() -> None:
    decoder = OpenAIChatStream(event_bytes_max=200)
    decoder.feed(FIRST)
    assert decoder.texts(frame("x") + frame("y" * 200)) == ([], 0)
