"""What an emulated model says: a pure function of the prompt and the model, the same at every provider.

The answer has the shape that the request asks for (tool calls, JSON, a label, a translation, code, prose) and a
length drawn for that shape; what it says is made of stock sentences and of words from the question. Because it
depends on nothing else, a streamed and an unstreamed answer have one text, and offers of one model differ in price,
speed and failures only. Knows no dialect, no provider and no time.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from msgspec import Struct

from clawbench.cassettes.matching import canonical
from clawbench.emulator import phrases
from clawbench.emulator.json_values import JsonValues
from clawbench.emulator.tokens import CHARS_PER_TOKEN, count_images, count_prompt, count_text, text_of
from clawbench.rng import Draws, draws
from clawbench.types import ChatRequest, ToolCall

_SEED: Final = 20_250_101
"""Fixed: another seed would be another model. Runs draw their luck elsewhere."""

_WORD = re.compile(r"[A-Za-z][A-Za-z'-]{2,}")
_LABELS = re.compile(r"one of:\s+([\w ,/-]+)", re.IGNORECASE)
_KEYS = re.compile(r"\bkeys? ([\w ,]+)")
_INTO = re.compile(r"\binto (" + "|".join(phrases.TRANSLATIONS) + r")\b", re.IGNORECASE)
_MARK = re.compile(r"\b(?:" + "|".join(phrases.LANGUAGE_MARKS) + r")\b")
_LONG_PROMPT_TOKENS = 500

# Median and sigma (of the natural logarithm) of the tokens that an answer in prose is drawn to have.
_LENGTHS: Final[dict[str, tuple[float, float]]] = {
    "long": (100, 0.35),
    "chat": (75, 0.45),
    "code": (45, 0.4),  # beside the code
    "summary": (55, 0.3),
    "result": (40, 0.3),
    "thought": (120, 0.5),
    "picture": (35, 0.3),
}
_EFFORTS: Final[dict[str, float]] = {"none": 0.0, "minimal": 0.2, "low": 0.4, "high": 2.0, "xhigh": 3.0}


class Answer(Struct, frozen=True, kw_only=True):
    """What a model says to a prompt. `content` is None exactly where there are tool calls.

    `reasoning` is what it thought before; None where it does not think.
    """

    content: str | None
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str | None = None
    finish_reason: str = "stop"  # OpenAI's words: stop, length, tool_calls

    @property
    def reasoning_tokens(self) -> int:
        """By the rule of `tokens.py`; a part of the output tokens."""
        return count_text(self.reasoning or "")

    @property
    def output_tokens(self) -> int:
        """By the rule of `tokens.py`; a tool call counts its name and its arguments."""
        calls = sum(count_text(call.name) + count_text(call.arguments) for call in self.tool_calls)
        return self.reasoning_tokens + count_text(self.content or "") + calls


def answer(request: ChatRequest, model: str, *, thinks: bool = False) -> Answer:
    """The answer to a request; of its fields count messages, tools, response_format, stop words and the output limit.

    A model that `thinks` does so before it answers, as long as `reasoning_effort` says.
    """
    said = _answer(request, model)
    if not thinks or not (effort := _EFFORTS.get(request.reasoning_effort or "medium", 1.0)):
        return said
    luck = draws(_SEED, model, "thought", text_of(request.messages[-1]) if request.messages else "")
    reasoning = _prose("thought", phrases.THOUGHTS, _words(_question(request)), luck, scale=effort)
    limit = request.max_output_tokens
    if limit is None or count_text(reasoning) + said.output_tokens <= limit:
        return msgspec.structs.replace(said, reasoning=reasoning)
    # What was thought counts against the limit; little or nothing is left to be said.
    reasoning = reasoning[: max(limit, 0) * CHARS_PER_TOKEN]
    left = (limit - count_text(reasoning)) * CHARS_PER_TOKEN
    return Answer(content=(said.content or "")[: max(left, 0)], reasoning=reasoning, finish_reason="length")


def _answer(request: ChatRequest, model: str) -> Answer:
    luck = draws(_SEED, model, _essence(request))
    question = _question(request)
    words = _words(question)
    if calls := _tool_calls(request, question, words, luck):
        return Answer(content=None, tool_calls=calls, finish_reason="tool_calls")
    content = _until_stop(_content(request, question, words, luck), request.stop)
    limit = request.max_output_tokens
    if limit is not None and count_text(content) > limit:
        return Answer(content=content[: max(limit, 0) * CHARS_PER_TOKEN], finish_reason="length")
    return Answer(content=content)


def _essence(request: ChatRequest) -> str:
    """What of a request the answer is drawn for: what every dialect can say, in one form whichever said it."""
    asked = ChatRequest(
        model="",
        messages=request.messages,
        tools=request.tools,
        tool_choice=request.tool_choice,
        extra={"schema": _schema(request.response_format)},
    )
    return canonical(asked).decode()


def _content(request: ChatRequest, question: str, words: tuple[str, ...], luck: Draws) -> str:
    asked = "\n".join(text_of(message) for message in request.messages if message.get("role") in ("system", "user"))
    kind = _object(request.response_format).get("type")
    named = _KEYS.search(question)
    # Some dialects cannot ask for JSON in general; the prompt then says so alone, and is obeyed.
    if kind in ("json_object", "json_schema") or (named and "json" in question.lower()):
        return _json(_schema(request.response_format), named[1] if named else "", question, words, luck)
    if request.messages and request.messages[-1].get("role") == "tool":
        return _result(text_of(request.messages[-1]), words, luck)
    if labels := _LABELS.search(asked):
        return str(_among([label for part in labels[1].split(",") if (label := part.strip())] or ["other"], luck))
    if language := _INTO.search(asked):
        return _translation(language[1].lower(), question, luck)
    if any(map(count_images, request.messages[-1:])):
        return _prose("picture", phrases.PICTURES, words, luck)
    if "```" in question or _MARK.search(question.lower()):
        return _code(question, words, luck)
    if "summarise" in question.lower() or "summarize" in question.lower():
        return _prose("summary", phrases.SUMMARIES, words, luck)
    kind = "long" if count_prompt(request) > _LONG_PROMPT_TOKENS else "chat"
    opening = _filled(_among(phrases.OPENINGS, luck), words, luck)
    closing = _filled(_among(phrases.CLOSINGS, luck), words, luck)
    return f"{opening} {_prose(kind, phrases.SENTENCES, words, luck)} {closing}"


def _until_stop(text: str, stop: list[str] | None) -> str:
    """The text before the first of the stop words."""
    found = [place for word in stop or () if word and (place := text.find(word)) >= 0]
    return text[: min(found)] if found else text


def _prose(kind: str, bank: tuple[str, ...], words: tuple[str, ...], luck: Draws, *, scale: float = 1.0) -> str:
    """Sentences of a bank in drawn order, none twice before all were used, until the drawn length is reached."""
    tokens = luck.lognormal(*_LENGTHS[kind]) * scale
    said: list[str] = []
    left: list[str] = []
    chars = -1
    while not said or -(-chars // CHARS_PER_TOKEN) < tokens:
        left = left or list(bank)
        said.append(_filled(left.pop(luck.below(len(left))), words, luck))
        chars += len(said[-1]) + 1
    if kind != "long":
        return " ".join(said)
    # A long answer has paragraphs, as real ones have: line ends are part of what a wire must carry.
    return "\n\n".join(" ".join(said[start : start + 3]) for start in range(0, len(said), 3))


def _code(question: str, words: tuple[str, ...], luck: Draws) -> str:
    marks = set(_MARK.findall(question.lower()))
    language = next((each for mark, each in phrases.LANGUAGE_MARKS.items() if mark in marks), "python")
    name = "_".join(dict.fromkeys(re.sub(r"\W", "", _among(words, luck).lower()) for _ in range(2)))
    block = phrases.CODE[language].replace("{name}", name)
    return f"Here is a version that does it:\n\n```{language}\n{block}```\n\n" + _prose(
        "code", phrases.SENTENCES, words, luck
    )


def _translation(language: str, question: str, luck: Draws) -> str:
    sentences = phrases.TRANSLATIONS[language]
    start = luck.below(len(sentences))
    wanted = max(1, min(len(sentences), len(re.findall(r"[.!?](?:\s|$)", question))))
    return " ".join(sentences[(start + step) % len(sentences)] for step in range(wanted))


def _result(result: str, words: tuple[str, ...], luck: Draws) -> str:
    values = re.findall(r'"(\w+)":("[^"]{1,60}"|[\d.]+)', result)
    key, value = _among(values, luck) if values else ("result", "nothing")
    stated = key.replace("_", " ") + " " + value.strip('"')
    first = _filled(_among(phrases.RESULTS, luck).replace("{value}", stated), words, luck)
    return f"{first} {_prose('result', phrases.SENTENCES, words, luck)}"


def _json(schema: dict[str, Any] | None, named: str, question: str, words: tuple[str, ...], luck: Draws) -> str:
    """A value of the schema; without one, an object with the keys that the prompt names."""
    values = JsonValues(question, words, luck)
    if schema is not None:
        return _encoded(values.value(schema or {"type": "object"}))
    keys = [key for part in re.split(r",| and ", named) if (key := part.strip().split(" ")[0])]
    return _encoded(values.loose_object(keys or ["answer", "reason"]))


def _schema(response_format: Any) -> dict[str, Any] | None:
    """The schema that an answer has to fit; None if none is given."""
    asked = _object(response_format)
    return _object(_object(asked.get("json_schema")).get("schema")) if asked.get("type") == "json_schema" else None


def _tool_calls(request: ChatRequest, question: str, words: tuple[str, ...], luck: Draws) -> tuple[ToolCall, ...]:
    """Calls of the tools that the last message asks for: those that share words with it, two at most.

    `tool_choice` is obeyed: "none", "required" (the nearest tool, whatever it is), or the tool that it names.
    """
    functions = [function for tool in request.tools or () if (function := _object(tool.get("function")))]
    choice = request.tool_choice
    asked = bool(request.messages) and request.messages[-1].get("role") == "user"
    if not functions or choice == "none" or not asked:
        return ()
    named = _object(_object(choice).get("function")).get("name")
    if named is not None:
        chosen = [function for function in functions if function.get("name") == named]
    else:
        stems = {word[:5] for word in words}
        shares = [len(stems & _stems(function)) for function in functions]
        ranked = sorted(range(len(functions)), key=lambda index: -shares[index])
        chosen = [functions[ranked[0]]] if shares[ranked[0]] or choice == "required" else []
        if len(ranked) > 1 and shares[ranked[1]] > 1 and request.parallel_tool_calls is not False:
            chosen.append(functions[ranked[1]])
    values = JsonValues(question, words, luck)
    return tuple(
        ToolCall(
            f"call_{luck.below(2**40):010x}",
            str(function.get("name", "")),
            _encoded(values.value(function.get("parameters", {"type": "object"}))),
        )
        for function in chosen
    )


def _stems(function: dict[str, Any]) -> set[str]:
    text = f"{str(function.get('name', '')).replace('_', ' ')} {function.get('description', '')}"
    return {word[:5] for word in _words(text)}


def _question(request: ChatRequest) -> str:
    texts = [text_of(message) for message in request.messages if message.get("role") == "user"]
    return texts[-1] if texts else ""


def _words(text: str) -> tuple[str, ...]:
    """Distinct words of a text that mean something, in order, in lower case."""
    found = dict.fromkeys(word.lower() for word in _WORD.findall(text))
    return tuple(word for word in found if word not in phrases.COMMON_WORDS) or ("that",)


def _filled(sentence: str, words: tuple[str, ...], luck: Draws) -> str:
    first = luck.below(len(words))
    # The second is drawn from the others, where there are others.
    second = (first + 1 + luck.below(max(1, len(words) - 1))) % len(words)
    return sentence.replace("{a}", words[first]).replace("{b}", words[second])


def _among(options: Any, luck: Draws) -> Any:
    return options[luck.below(len(options))]


def _object(value: Any) -> dict[str, Any]:
    """The value itself if it is an object; clients send anything where an object belongs."""
    return value if isinstance(value, dict) else {}


def _encoded(value: Any) -> str:
    return msgspec.json.encode(value).decode()
