"""Transcripts: one text that marks who speaks, as hh-rlhf writes it.

In: a text. Out: the turns, or None where it is no transcript. A mark counts where it starts a
paragraph, so `: ` inside a text splits nothing. Line ends, blanks around a mark, its case, a
leading blank line or byte-order mark do not matter.
"""

import re
from collections import Counter
from collections.abc import Sequence

from stages.runtime.rows import Message

ROLES = {
    "human": "user",
    "user": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "system": "system",
    "instruction": "user",
    "output": "assistant",
}
EXACT = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")
"""hh-rlhf's own marks: a text that has them is split at nothing else, since people wrote other
spellings inside their turns.
"""
BLANKS = r"(?:[^\S\n]|[\u200b-\u200f\u2060\ufeff])*"
"""Blanks on one line, and characters without width."""
PARAGRAPH = rf"(?:\A|\n{BLANKS}\n){BLANKS}"
LINE = rf"(?:\A|\n){BLANKS}"
HUMAN = r"(human|assistant)[^\S\n]*[:\uff1a]"
USER = r"(user|human|assistant|system)[^\S\n]*[:\uff1a]"
HEADING = r"(?:\A|\s*)###[^\S\n]*(human|prompter|assistant|gpt|system)[^\S\n]*:"
BOLD = r"\*\*(human|user|assistant|system)(?:\*\*[^\S\n]*:|:\*\*)"
INSTRUCTION = r"(instruction|output)[^\S\n]*:"
"""The marks of AlpacaEval's texts, as icai has them."""
ANGLES = r"<(human|user|bot|assistant|system)>[^\S\n]*:"
EXTRA_ID = re.compile(r"(?:\A|\n)<extra_id_1>(User|Assistant)[^\S\n]*\r?\n")
"""The marks of HelpSteer and HelpSteer2."""
BREAKS = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
"""Line ends other than \\n."""
INLINE = re.compile(
    r"[\s\u200b-\u200f\u2060\ufeff]*(?:human|user|system)[^\S\n]*[:\uff1a]"
    r".*\sassistant[^\S\n]*[:\uff1a]",
    re.IGNORECASE | re.DOTALL,
)
"""A text that begins with one speaker and marks the other one somewhere."""
FIRST_MARK = (
    r"[\s\u200b-\u200f\u2060\ufeff]*"
    r"(?:###|\*\*|<|human|user|assistant|system|instruction|output|(?!))"
)
"""What every transcript begins with; most texts are none and are not compared with every form."""
LONGEST_START = 256
"""Characters within which a transcript's first mark ends."""
NAME = re.compile(r"\n[^\S\n]*([A-Z]\w+):(?=\s)")
"""A line that may begin with the name of a speaker."""
FEWEST_TRANSCRIPTS = 3
IGNORED = "\ufeff\u200b"
RENDERED = re.compile(
    r"<[|\uff5c][\w\u2581 ]{1,40}[|\uff5c]>|<s>\s*\[INST\]|\[INST\]|<start_of_turn>|<bos>|"
    r"###\s*Instruction:.*\n###\s*Response:|"
    r"Below is an instruction that describes a task.*\n###\s*Response:|"
    r"A chat between a curious (?:user|human) and an .*\s(?:USER|Human):",
    re.DOTALL,
)
"""How a text begins that a chat template has already rendered."""
ENDS = (
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<|return|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
    "</s>",
)
"""How an answer ends that a chat template has already rendered."""


def read_transcript(text: str, by_line: bool = False, assistant: str = "") -> list[Message] | None:
    """Return the turns of a transcript, or None where the text is none.

    A text that begins with `Human:` or `Assistant:` is one; one that begins with `User:` or
    `System:` is one only if a mark of the assistant follows, since a request may begin so.

    Args:
        by_line: a mark at the start of a line counts, not only at the start of a paragraph.
        assistant: another name by which the assistant's turns are marked.
    """
    text = text.lstrip(IGNORED)
    if "<extra_id_1>" in text and EXTRA_ID.search(text):
        return _split_extra_ids(text)
    first_mark = FIRST_MARK.replace("(?!)", assistant or "(?!)")
    if not re.match(first_mark, text, re.IGNORECASE):
        return None
    exact = _split(text, EXACT)
    if has_answer(exact):
        return exact
    text = text.lstrip()
    before = LINE if by_line else PARAGRAPH
    speakers = HUMAN.replace("assistant", assistant) if assistant else HUMAN
    turns = _split(text, re.compile(before + speakers, re.IGNORECASE))
    if turns is not None:
        return turns
    for pattern in (before + USER, HEADING, LINE + BOLD, LINE + ANGLES, PARAGRAPH + INSTRUCTION):
        turns = _split(text, re.compile(pattern, re.IGNORECASE))
        if has_answer(turns):
            return turns
    return None


def _split_extra_ids(text: str) -> list[Message]:
    """Split HelpSteer's conversations, whose first user turn has no mark."""
    pieces = EXTRA_ID.split(f"<extra_id_1>User\n{text.strip()}\n")
    turns: list[Message] = []
    for name, content in zip(pieces[1::2], pieces[2::2], strict=True):
        if content.strip() or turns:
            turns.append({"role": ROLES[name.lower()], "content": content.strip()})
    return turns


def _split(text: str, speakers: re.Pattern[str]) -> list[Message] | None:
    """Split a text at the marks of its speakers; None if it does not begin with one."""
    if not speakers.match(BREAKS.sub("\n", text[:LONGEST_START])):
        return None
    unified = _unify_line_ends(text, speakers)
    if not speakers.match(unified):
        return None
    pieces = speakers.split(unified)
    turns = []
    for name, content in zip(pieces[1::2], pieces[2::2], strict=True):
        role = ROLES.get(name.lower(), "assistant")
        turns.append({"role": role, "content": content.strip()})
    return turns


def find_assistant(texts: Sequence[str]) -> str:
    """Return the name that marks the answers of a column's transcripts, where it is a rare one.

    It starts a line in nine of ten texts that begin with `Human:`; "" where there is no such name.
    """
    counts: Counter[str] = Counter()
    transcripts = 0
    for text in texts:
        if re.match(HUMAN, text.lstrip(), re.IGNORECASE):
            transcripts += 1
            counts.update(set(NAME.findall(text)))
    if transcripts < FEWEST_TRANSCRIPTS or transcripts < len(texts) / 2:
        return ""
    names = [name for name, count in counts.items() if count >= 0.9 * transcripts]
    return names[0] if len(names) == 1 else ""


def has_answer(turns: list[Message] | None) -> bool:
    """Whether a transcript holds a turn of the assistant."""
    return turns is not None and any(turn["role"] == "assistant" for turn in turns)


def hides_answer(text: str) -> bool:
    """Whether a text that was not split begins with one speaker and marks the other one later.

    Taken for one turn it would hold the answer.
    """
    return INLINE.match(text) is not None


def marks_inside(text: str) -> bool:
    """Whether a text that is no transcript holds one, such as a request to judge a dialogue."""
    return set(EXACT.findall(text)) == {"Human", "Assistant"}


def is_rendered(text: str) -> bool:
    """Whether a chat template has already rendered a text."""
    return RENDERED.match(text.lstrip()) is not None


def is_ended(text: str) -> bool:
    """Whether an answer ends with the token that a chat template puts after a turn."""
    end = text.rstrip()
    is_html = end.endswith("</s>") and "<s>" in end
    return end.endswith(ENDS) and not is_html


def read_escaped(text: str) -> str:
    r"""Return a text whose line ends were written as \n, in two characters, with real ones."""
    if re.match(r"(\\r)?\\n\s*(\\r)?(\\n)?\s*(human|assistant)\s*:", text.lstrip(), re.IGNORECASE):
        return text.replace("\\r\\n", "\n").replace("\\n", "\n")
    return text


def _unify_line_ends(text: str, speakers: re.Pattern[str]) -> str:
    r"""Return the text with \n for every other line end, if marks depend on it; else as it is.

    So the turns of a transcript that has only \n before its marks keep their characters.
    """
    unified = BREAKS.sub("\n", text)
    if unified == text:
        return text
    same = len(speakers.findall(unified)) == len(speakers.findall(text))
    return text if same else unified
