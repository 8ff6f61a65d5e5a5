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

from clawbench.emulator import phrases
from clawbench.emulator.json_values import JsonValues
from clawbench.emulator.tokens import CHARS_PER_TOKEN, count_prompt, count_text, text_of
from clawbench.rng import Draws, draws
from clawbench.types import ChatRequest, ToolCall

_SEED: Final = 20_250_101
"""Fixed: another seed would be another model. Runs draw their luck elsewhere."""

_WORD = re.compile(r"[A-Za-z][A-Za-z'-]{2,}")
_LABELS = re.compile(r"one of:\s+([\w ,/-]+)", re.IGNORECASE)
_KEYS = re.compile(r"\bkeys? ([\w ,]+)")
_INTO = re.compile(r"\binto (" + "|".join(phrases.TRANSLATIONS) + r")\b", re.IGNORECASE)
_LONG_PROMPT_TOKENS = 500

# Median and sigma (of the natural logarithm) of the tokens that an answer in prose is drawn to have.
_LENGTHS: Final[dict[str, tuple[float, float]]] = {
    "long": (100, 0.35),
    "chat": (75, 0.45),
    "code": (45, 0.4),  # beside the code
    "summary": (55, 0.3),
    "result": (40, 0.3),
}


class Answer(Struct, frozen=True, kw_only=True):
    """What a model says to a prompt. `content` is None exactly where there are tool calls."""

    content: str | None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str = "stop"  # OpenAI's words: stop, length, tool_calls

    @property
    def output_tokens(self) -> int:
        """By the rule of `tokens.py`; a tool call counts its name and its arguments."""
        return count_text(self.content or "") + sum(
            count_text(call.name) + count_text(call.arguments) for call in self.tool_calls
        )


def answer(request: ChatRequest, model: str) -> Answer:
    """The answer to a request; of its fields count messages, tools, response_format and the output limit."""
    prompt = [request.messages, request.tools, request.tool_choice, request.response_format]
    luck = draws(_SEED, model, msgspec.json.encode(prompt, order="sorted").decode())
    question = _question(request)
    words = _words(question)
    if calls := _tool_calls(request, question, words, luck):
        return Answer(content=None, tool_calls=calls, finish_reason="tool_calls")
    content = _content(request, question, words, luck)
    limit = request.max_output_tokens
    if limit is not None and count_text(content) > limit:
        return Answer(content=content[: max(limit, 0) * CHARS_PER_TOKEN], finish_reason="length")
    return Answer(content=content)


def _content(request: ChatRequest, question: str, words: tuple[str, ...], luck: Draws) -> str:
    asked = "\n".join(text_of(message) for message in request.messages if message.get("role") in ("system", "user"))
    if (request.response_format or {}).get("type") in ("json_object", "json_schema"):
        return _json(request.response_format or {}, question, words, luck)
    if request.messages and request.messages[-1].get("role") == "tool":
        return _result(text_of(request.messages[-1]), words, luck)
    if labels := _LABELS.search(asked):
        return str(_among([label for part in labels[1].split(",") if (label := part.strip())] or ["other"], luck))
    if language := _INTO.search(asked):
        return _translation(language[1].lower(), question, luck)
    if "```" in question or any(re.search(rf"\b{mark}\b", question.lower()) for mark in phrases.LANGUAGE_MARKS):
        return _code(question, words, luck)
    if "summarise" in question.lower() or "summarize" in question.lower():
        return _prose("summary", phrases.SUMMARIES, words, luck)
    kind = "long" if count_prompt(request) > _LONG_PROMPT_TOKENS else "chat"
    opening = _filled(_among(phrases.OPENINGS, luck), words, luck)
    closing = _filled(_among(phrases.CLOSINGS, luck), words, luck)
    return f"{opening} {_prose(kind, phrases.SENTENCES, words, luck)} {closing}"


def _prose(kind: str, bank: tuple[str, ...], words: tuple[str, ...], luck: Draws) -> str:
    """Sentences of a bank in drawn order, none twice before all were used, until the drawn length is reached."""
    tokens = luck.lognormal(*_LENGTHS[kind])
    said: list[str] = []
    left: list[str] = []
    while not said or count_text(" ".join(said)) < tokens:
        left = left or list(bank)
        said.append(_filled(left.pop(luck.below(len(left))), words, luck))
    if kind != "long":
        return " ".join(said)
    # A long answer has paragraphs, as real ones have: line ends are part of what a wire must carry.
    return "\n\n".join(" ".join(said[start : start + 3]) for start in range(0, len(said), 3))


def _code(question: str, words: tuple[str, ...], luck: Draws) -> str:
    lowered = question.lower()
    found = [language for mark, language in phrases.LANGUAGE_MARKS.items() if re.search(rf"\b{mark}\b", lowered)]
    language = found[0] if found else "python"
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


def _json(response_format: dict[str, Any], question: str, words: tuple[str, ...], luck: Draws) -> str:
    values = JsonValues(question, words, luck)
    if response_format.get("type") == "json_schema":
        schema = _object(_object(response_format.get("json_schema")).get("schema"))
        return _encoded(values.value(schema or {"type": "object"}))
    named = _KEYS.search(question)
    keys = [key for part in re.split(r",| and ", named[1]) if (key := part.strip().split(" ")[0])] if named else []
    return _encoded(values.loose_object(keys or ["answer", "reason"]))


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
