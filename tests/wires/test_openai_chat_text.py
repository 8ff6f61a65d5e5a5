"""Plain pieces of text: read by type, alone or many at once, as the tolerant walk reads them."""

from __future__ import annotations

import pytest

from clawbench.wires.openai_chat_stream import OpenAIChatStream
from tests.wires.made import ended, shown


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
def test_many_chunks_at_once_are_read_as_each_by_itself(odd: tuple[bytes, ...], behind: int) -> None:
    chunks = [raw(said(f'"{number}"')) for number in range(9)] + [*odd] + [raw(said())] * behind
    single, many = OpenAIChatStream(), OpenAIChatStream()
    expected = shown(delta for chunk in chunks for delta in single.feed(chunk))
    deltas = many.feed(chunks[0])
    texts = many.texts(chunks[1:])
    assert texts or behind or len(odd) > 1 or b'"content"' in odd[0]
    deltas += texts + [delta for chunk in chunks[1 + len(texts) :] for delta in many.feed(chunk)]
    assert shown(deltas) == expected
    assert ended(many) == ended(single)
