"""Reading the answers of OpenAI-compatible servers: texts, thoughts, log-probabilities, refusals.

In: an answer's JSON, without halves of characters. Out: what was asked for, or one of two
exceptions: `Refused`, where another attempt would end in the same way, and `Unreadable`, where it
may not. Both are about one call; neither says that the server is in trouble.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

from stages.runtime.generation import Completion, as_completion

FILTERED = "refused by the server (content filter)"
MODEL_REFUSED = "refused by the model (refusal field)"
TOOL_CALL = "a tool call in place of a text"

CUT_OFF = {"length", "max_tokens", "max_length", "max_output_tokens", "model_length"}
COMPLETE = {"", "stop", "eos", "eos_token", "end_turn", "stop_sequence", "stop_token", "end"}
COMPLETE |= {"complete", "completed", "done", "finished"}
TOOL_REASONS = {"tool_calls", "tool_use", "function_call"}
FILTER_REASONS = {"content_filter", "content_filtered", "safety", "recitation", "blocklist"}
FILTER_REASONS |= {"prohibited_content", "spii", "refusal", "sensitive", "blocked", "moderation"}
FILTER_REASONS |= {"guardrail_intervened"}
FILTER_CODES = re.compile(
    r"content.?filter|content.?policy|content management policy|responsible.?ai|blockreason"
    r"|prohibited_content|flagged_input|input was flagged|data.?inspection|guardrail|moderation",
    re.I,
)
"""Words that only a filter of contents uses."""
FILTER_WORDS = re.compile(
    r"(?i:safety system|usage polic|content exists risk|considered high risk|sensitive content"
    r"|flagged as)|\bSAFETY\b"
)
"""Words that mean a filter where a request was refused, and may mean an account elsewhere."""

THOUGHT_FIELDS = ("reasoning_content", "reasoning", "thinking")
THOUGHT_PARTS = {"thinking", "reasoning"}
HIDDEN_PARTS = {"redacted_thinking"}
LEAST_LOG = -9999.0  # what servers write for "not among the likeliest tokens"
ROUNDING = 0.01  # a log-probability may be this far above 0
MOST_TOKENS = 2**31
"""No answer has more; a server that says so miscounts."""
SUM_EXCESS = 0.05  # and the probabilities of 20 rounded ones this far above 1


class Refused(Exception):
    """The server or the model refuses this call, and will again.

    Args:
        reason: in words that calls of the same kind share.
        words: the server's own, as they came.
    """

    def __init__(self, reason: str, words: object = ""):
        self.reason = reason
        self.words = str(words)
        super().__init__(reason)


class Unreadable(Exception):
    """An answer in an unexpected form; the message says in which."""


class NoLogprobs(Unreadable):
    """An answer without the log-probabilities that were asked for."""


@dataclass
class Parts:
    """What a message holds."""

    text: str = ""
    thoughts: str = ""
    refusal: str = ""


def read_completion(answer: Any) -> Completion:
    """Read a chat completion.

    Raises:
        Refused: by a filter or by the model; or a tool is called, and none was offered.
        Unreadable: there is no text, or it ended for a reason that leaves open whether it is whole.
    """
    choice = read_choice(answer)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise Unreadable("a choice without a message")
    content = message.get("content")
    parts = read_parts(content)
    for name in THOUGHT_FIELDS:
        if not parts.thoughts and isinstance(message.get(name), str | list):
            parts.thoughts = read_parts(message[name]).text
    refusal = parts.refusal or message.get("refusal")
    if refusal and not parts.text:
        raise Refused(MODEL_REFUSED, refusal)
    if not parts.text and (message.get("tool_calls") or message.get("function_call")):
        raise Refused(TOOL_CALL)
    finish_reason = read_finish_reason(choice)
    usage = answer.get("usage")
    written = read_count(usage, "completion_tokens")
    if not parts.text and not parts.thoughts and finish_reason == "stop":
        if content is None:
            raise Unreadable("a message without content")
        if not written:  # a model that ends at once has written its end
            raise Unreadable("an empty text")
    completion = Completion(
        text=parts.text,
        finish_reason=finish_reason,
        prompt_tokens=read_count(usage, "prompt_tokens"),
        completion_tokens=written,
        thoughts=parts.thoughts,
        cached_tokens=read_cached(usage),
    )
    return as_completion(completion)


@dataclass(frozen=True)
class FirstToken:
    """What a server reports of an answer's first token."""

    logprobs: dict[str, float]
    """In nats, of the token and its rivals, by the server's text."""
    prompt_tokens: int
    """0 if the server does not report them."""
    cached_tokens: int

    def __or__(self, other: "FirstToken") -> "FirstToken":
        """Both reports; the prompt was read twice."""
        return FirstToken(
            self.logprobs | other.logprobs,
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
        )


def read_first_token(answer: Any) -> FirstToken:
    """Read the log-probability of the first token and its rivals.

    A token at -9999 or minus infinity is left out: so a server writes "not among the likeliest".

    Raises:
        Refused: by a filter.
        NoLogprobs: there is no log-probability.
        Unreadable: there is one that is not a number.
    """
    choice = read_choice(answer)
    read_finish_reason(choice)
    report = choice.get("logprobs")
    content = report.get("content") if isinstance(report, dict) else None
    if not isinstance(content, list) or not content or not isinstance(content[0], dict):
        raise NoLogprobs("no log-probabilities in the answer")
    first = content[0]
    logprobs: dict[str, float] = {}
    for entry in [*(first.get("top_logprobs") or []), first]:
        token = entry["token"]
        value = entry["logprob"]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        is_logarithm = is_number and value <= ROUNDING  # nan is not
        if not isinstance(token, str) or not is_logarithm:
            raise Unreadable(f"the log-probability of {token!r} is {str(value)[:40]!r}")
        if value > LEAST_LOG:
            logprobs[token] = max(min(value, 0.0), logprobs.get(token, LEAST_LOG))
    if not logprobs:
        raise Unreadable("no token with a log-probability")
    total = math.fsum(map(math.exp, logprobs.values()))
    if total > 1 + SUM_EXCESS:
        raise Unreadable(f"the probabilities of the first tokens add up to {total:.3g}")
    usage = answer.get("usage")
    return FirstToken(logprobs, read_count(usage, "prompt_tokens"), read_cached(usage))


def read_tokens(answer: Any) -> list[int]:
    """Read the token ids of vLLM's /tokenize.

    Raises:
        Unreadable: they are something else.
    """
    tokens = answer["tokens"]
    if not isinstance(tokens, list) or any(type(token) is not int for token in tokens):
        raise Unreadable("tokens that are no whole numbers")
    return tokens


def read_choice(answer: Any) -> dict[str, Any]:
    """Return an answer's first choice: the one with index 0, wherever it stands.

    Raises:
        Refused: a filter left none.
        Unreadable: there is none, or an error stands in its place.
    """
    if not isinstance(answer, dict):
        raise Unreadable("an answer that is not a JSON object")
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    for other in choices if isinstance(choices, list) else []:
        if isinstance(other, dict) and other.get("index") == 0:
            choice = other
            break
    error = answer.get("error") or (isinstance(choice, dict) and choice.get("error"))
    if not isinstance(choice, dict) or error:
        if is_filter(answer):
            raise Refused(FILTERED, answer)
        raise Unreadable("an error in place of an answer" if error else "an answer without choices")
    return choice


def read_finish_reason(choice: dict[str, Any]) -> str:
    """Return `stop` or `length`.

    Raises:
        Refused: by a filter; or a tool is called.
        Unreadable: any other reason, such as `error`: the text may not be whole.
    """
    given = choice.get("finish_reason")
    reason = str(given or "").lower().rpartition(".")[2]
    if reason in CUT_OFF:
        return "length"
    if reason in COMPLETE:
        return "stop"
    if reason in FILTER_REASONS:
        raise Refused(FILTERED, f"finish_reason {given!r}")
    if reason in TOOL_REASONS:
        raise Refused(TOOL_CALL, f"finish_reason {given!r}")
    raise Unreadable(f"the text ended with finish_reason {given!r}")


def read_parts(content: Any) -> Parts:
    """Read a message's content: a text, a list of parts, or nothing.

    Raises:
        Refused: a part calls a tool.
        Unreadable: a part of an unknown type.
    """
    if content is None:
        return Parts()
    if isinstance(content, str):
        return Parts(text=content)
    if not isinstance(content, list | dict):
        raise Unreadable(f"a content that is no text ({type(content).__name__})")
    parts = Parts()
    for part in [content] if isinstance(content, dict) else content:
        kind = part.get("type", "text") if isinstance(part, dict) else "text"
        if isinstance(part, str):
            parts.text += part
        elif kind in ("text", "output_text"):
            parts.text += part["text"]
        elif kind in THOUGHT_PARTS:
            thoughts = part.get("thinking") or part.get("reasoning") or part.get("text")
            parts.thoughts += read_parts(thoughts).text
        elif kind == "refusal":
            parts.refusal += part["refusal"]
        elif "tool" in kind or "function" in kind:
            raise Refused(TOOL_CALL)
        elif kind not in HIDDEN_PARTS:
            raise Unreadable(f"a part of type {kind!r} in the content")
    return parts


def read_count(usage: Any, name: str) -> int:
    """Return a number of tokens, 0 where the server does not report it."""
    value = usage.get(name) if isinstance(usage, dict) else None
    return int(value) if isinstance(value, int | float) and 0 <= value <= MOST_TOKENS else 0


def read_cached(usage: Any) -> int:
    """Return how many tokens of the prompt the server had in its cache, 0 where it does not say."""
    details = usage.get("prompt_tokens_details") if isinstance(usage, dict) else None
    return read_count(details, "cached_tokens")


def is_filter(words: object, only_codes: bool = False) -> bool:
    """Whether a server's words mean that a filter refused the contents of the call.

    Args:
        only_codes: look for words that mean nothing else, as where the status says "no access".
    """
    text = str(words)
    return bool(FILTER_CODES.search(text) or (not only_codes and FILTER_WORDS.search(text)))
