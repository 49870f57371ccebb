"""Announcements before a rewritten answer: "Here is the revised response:", "**Revised Answer**".

In: a text. Out: its announcement, if it begins with one, and the rest. The form decides: an
announcement names the response, the answer or the version itself, and says no more of it than how
it was written. A line that names a topic, or a thing that was asked for (a letter, a list, a reply
to a customer), is part of the answer. The forms, with courtesies such as "Sure!" before them:

    a label        Revised response: / ## Rewritten answer / [Improved version]
    here is        Here's a version of my last answer that follows the principle:
    it is done     I have rewritten my response so that nobody is insulted.
    as follows     My revised answer is as follows:

Labels and "here is" are also recognised in German, French, Spanish, Italian, Portuguese, Dutch,
Russian, Chinese, Japanese and Korean. Quotes, a code fence or a tag around all of the rest are
taken off only after an announcement. Not recognised: notes after the answer ("I changed the
tone."), names of speakers ("Assistant:"), texts of the user's ("Here is the revised letter:"),
several answers at once, forms without a noun ("Let me rephrase that:"), other languages.
"""

# ruff: noqa: RUF001
import re
from typing import NamedTuple

_MARKS = r"#>*_=~|\[\](){}<\-—–"
_OPENING = r"""(?:_|[^\w"'“”„«»$€£@&/\\.,;:!?%+…]){0,8}"""
"""Marks of headings, bold and rules, brackets, spaces, emojis."""
_CLOSING = rf"[{_MARKS}】」 \t]{{0,8}}"
_LINE_END = rf"[.!…。]{{0,3}}{_CLOSING}(?=\n|\Z)"
"""The rest of a line that holds nothing else: a full stop, closing marks."""
_COLON = rf"{_CLOSING}[:：]\s?[*_]{{0,3}}"
_ALONE = rf"(?:{_COLON}{_CLOSING}(?=\n|\Z)|{_LINE_END})"
_NO_NUMBER = r"(?!\s*[:：]\s*v?\d| v?\d+\.)"
"""After "version": a version of something else has a number ("Updated version: 2.0")."""

_PARTICIPLE = (
    r"(?:revised|re-?written|updated|improved|corrected|edited|amended|modified|reworked"
    r"|rephrased|reworded|refined|adjusted|enhanced)"
)
_STRONG = rf"{_PARTICIPLE}(?:(?:,| and) {_PARTICIPLE})?"
_WEAK = (
    r"(?:new|better|alternative|different|kinder|safer|fairer|gentler"
    r"|(?:more|less) [a-z-]+)"
)
_QUALITY = (
    r"(?:(?:and|final|possible|potential|suggested|proposed|slightly|fully|newly|completely|much|honest"
    r"|safe|kind|polite|neutral|short|brief|concise|clear|direct|appropriate|ethical|fair"
    r"|[a-z-]+(?:ful|able|ible|less|ous|ive)),? )*"
)
_OWN = (
    r"(?:my|the|that|this|your) "
    r"(?:(?:last|previous|prior|original|earlier|first|initial|above) )*(?:response|answer|reply)"
)
_WITH_PREPOSITION = (
    r"(?:with|without|in|based on|following|according to|adhering to|avoiding|addressing"
    r"|incorporating|reflecting|removing|taking|keeping|so that|as requested)\b"
)
_TO_IMPROVE = (
    r"to (?:better|more|be|align|address|follow|adhere|comply|reflect|avoid|ensure|meet|fix"
    r"|correct|remove|respect)\b"
)
_MANNER = (
    rf"(?:(?:that|which) (?!you\b|we\b|they\b)|{_WITH_PREPOSITION}|{_TO_IMPROVE})[^\n:.!?]{{0,200}}"
)
"""How the answer was written; never what "you can send"."""
_BY_PRINCIPLE = (
    rf"(?:(?:that|which) |{_WITH_PREPOSITION}|{_TO_IMPROVE})[^\n:.!?]{{0,120}}"
    r"\b(?:principles?|guidelines?|critique|criticism|feedback|faults?)\b[^\n:.!?]{0,80}"
)
_DETAILS = (
    rf"(?: (?:of|to) {_OWN})?"
    rf"(?:,? (?:{_MANNER}"
    r"|to (?:your|the|this) (?:(?:original|initial|first) )?(?:request|question|prompt|query)))?"
    r"(?: \([^()\n]{1,60}\)| #?\d{1,2})?"
)
_ARTICLE = r"(?:(?:a|an|the|my|your|another|one) )"
_REVISION = rf"{_QUALITY}(?:{_STRONG} )?(?:revision|rewrite|attempt)"
_HERE = (
    r"(?:(?:here(?:'s| is| comes)|below is|this is|the following is"
    r"|(?:let me|allow me to|i will|i'll) (?:give|offer|provide|share|present)"
    r"(?: you)?(?: with)?) )"
)
_REVISED = rf"{_QUALITY}{_STRONG} {_QUALITY}(?:response|answer|reply|version|rewrite)"
_BETTER = rf"{_QUALITY}{_WEAK} {_QUALITY}(?:response|answer|version)"
_REWRITTEN = rf",? (?:now )?{_STRONG}(?: {_MANNER})?"
_WILL_CHANGE = r"(?:revise|rewrite|rephrase|reword|correct|update|redo|improve|edit|adjust)"
_HERE_IS = (
    rf"{_HERE}(?:{_ARTICLE}?(?:{_REVISED}|{_BETTER}|{_REVISION}){_DETAILS}"
    rf"|how i(?:'d| would) {_WILL_CHANGE} {_OWN})"
)
_HERE_IS_PLAIN = (
    rf"(?!this is){_HERE}(?:(?:my|the) {_QUALITY}(?:response|answer)(?:{_REWRITTEN})?"
    rf"|{_ARTICLE}{_QUALITY}(?:response|answer|version)"
    rf"(?: of {_OWN}(?: {_MANNER})?| {_BY_PRINCIPLE}|{_REWRITTEN}))"
)
_CHANGED = (
    r"i(?:'ve| have)?(?: now| just)? (?:revised|rewritten|rewrote|updated|reworded|rephrased"
    r"|corrected|edited|adjusted|modified|improved|changed)"
)
_WILL = (
    r"(?:let me|allow me to|i(?:'ll| will| can|'d like to| would like to|'d be happy to"
    r"| would be happy to)) (?:try to )?"
)
_DONE = rf"(?:{_CHANGED}|{_WILL}{_WILL_CHANGE}) {_OWN}(?:,? {_MANNER}| as follows| below)?"
_FOLLOWS = (
    rf"(?:(?:my|the) (?:{_REVISED}|{_BETTER})|an? {_REVISED}){_DETAILS}"
    r" (?:is|would be|reads|could be|might be)"
    r"(?: now)?(?: as follows| below| the following)?"
)
_LABEL = (
    rf"{_ARTICLE}?(?:{_QUALITY}{_STRONG}[ _-]{_QUALITY}"
    rf"(?:response|answer|reply|rewrite|version{_NO_NUMBER})"
    rf"|(?:response|answer|reply) \({_STRONG}\)){_DETAILS}"
)
_PLAIN_LABEL = (
    r"(?:(?:new|better) (?:response|answer|version)|(?:final )?response|answer|rewrite|rewritten"
    rf"|revised|(?:revised|rewritten) {_BY_PRINCIPLE}|(?:the )?(?:response|answer){_REWRITTEN})"
)
_COURTESY = (
    r"(?:(?:sure|certainly|of course|absolutely|okay|ok|alright|understood|got it|great|thanks"
    r"|thank you|i apologi[sz]e|(?:my )?apologies|i(?:'m| am) (?:sorry|happy|glad)|i see"
    r"|i understand|i(?:'d| would) be (?:happy|glad)|you(?:'re| are) right|good point|no problem"
    r"|as requested|as an ai|with (?:that|this|the principle) in mind"
    r"|(?:based on|in line with|in accordance with|following) (?:the|that|this|your))\b"
    r"[^\n.!:?]{0,80}?[.!,:]\s+){0,3}"
)


_FOREIGN_COURTESY = (
    r"(?:(?:natürlich|gerne?|klar|selbstverständlich|bien sûr|certainement|d'accord|¡?claro"
    r"|¡?por supuesto|de acuerdo|certo|certamente|va bene|natuurlijk|okay|ok)\b[^\n.!:?]{0,40}?"
    r"\s?[.!,]\s+)?"
)


class _Words(NamedTuple):
    """The words of a language that writes them apart; each is a regular expression."""

    here: str
    """Here is."""
    article: str
    """The, a, my."""
    revised: str
    """Revised, improved, new."""
    answer: str
    version: str
    """Version, where it is not an answer."""
    details: str
    """Of my last answer; which, without."""


_LANGUAGES = (
    _Words(
        r"hier (?:ist|kommt|folgt)|dies ist|das ist|nachfolgend|im folgenden",
        r"meine|die|eine|deine|ihre|unsere",
        r"(?:überarbeitete|verbesserte|umgeschriebene|aktualisierte|korrigierte|neue|angepasste"
        r"|geänderte|(?:um|neu )formulierte|revidierte)",
        r"antwort",
        r"version|fassung",
        r"(?:(?:meiner|der) (?:\w+ )?antwort|die|ohne|nach dem)",
    ),
    _Words(
        r"voici|ci-dessous|ci-après|c'est",
        r"ma|la|une|votre|notre",
        r"(?:révisée|réécrite|améliorée|corrigée|modifiée|mise à jour|reformulée|remaniée"
        r"|nouvelle)",
        r"réponse",
        r"version",
        r"(?:de (?:ma|la) (?:\w+ )?réponse|qui|sans|conformément|selon)",
    ),
    _Words(
        r"aquí (?:está|tienes|tiene|te dejo|va)|esta es|a continuación",
        r"mi|la|una|tu|su|nuestra",
        r"(?:revisada|reescrita|mejorada|corregida|actualizada|modificada|nueva|reformulada)",
        r"respuesta",
        r"versión",
        r"(?:de (?:mi|la) (?:\w+ )?respuesta|que|sin|según|conforme)",
    ),
    _Words(
        r"ecco|di seguito|questa è",
        r"la|una|mia|tua",
        r"(?:rivista|riscritta|migliorata|corretta|aggiornata|modificata|nuova|riformulata)",
        r"risposta",
        r"versione",
        r"(?:della (?:mia )?(?:\w+ )?risposta|che|senza|secondo)",
    ),
    _Words(
        r"aqui está|segue(?: abaixo)?|eis|esta é",
        r"a|uma|minha|sua",
        r"(?:revisada|revista|reescrita|melhorada|corrigida|atualizada|modificada|nova"
        r"|reformulada|aprimorada)",
        r"resposta",
        r"versão",
        r"(?:da (?:minha )?(?:\w+ )?resposta|que|sem|segundo|conforme)",
    ),
    _Words(
        r"hier is|hieronder (?:staat|volgt)|dit is",
        r"het|de|een|mijn|je|uw",
        r"(?:herziene?|herschreven|verbeterde?|aangepaste?|bijgewerkte?|nieuwe?|gecorrigeerde?)",
        r"antwoord|reactie",
        r"versie",
        r"(?:van (?:mijn|het) (?:\w+ )?antwoord|dat|die|zonder|volgens)",
    ),
)
_SCRIPTS = (
    r"(?:(?:конечно|хорошо)[,.!] )?(?:вот |ниже )?(?:мой |моя )?"
    r"(?:исправленн|переработанн|переписанн|обновл[её]нн|улучшенн|пересмотренн|нов)(?:ый|ая) "
    r"(?:ответ|версия|вариант)(?: ответа)?",
    r"(?:好的[，,。！!]\s*)?(?:以下是|这是|下面是|這是)?(?:我|您|你)?的?"
    r"(?:修改|修订|改进|改写|重写|更新|修正|优化|調整|調整|修訂|改寫)(?:过|后|後|版)?的?"
    r"(?:回答|回复|回覆|答复|版本|答案|回应)",
    r"(?:以下が|以下は|こちらが)?(?:修正|改訂|改善|書き直し|更新)(?:後の|版の|した|された|版)?"
    r"(?:回答|応答|返答|答え|バージョン)(?:です)?",
    r"(?:다음은 )?(?:수정된|수정한|개선된|개정된|다시 작성한|다시 쓴) "
    r"(?:답변|응답|대답|버전)(?:입니다)?",
)


def _foreign_form(words: _Words) -> str:
    """Return the pattern of the label and of "here is" in a language other than English."""
    noun = rf"(?:{words.answer}|{words.version})"
    revised = rf"(?:{words.revised} {noun}|{noun} {words.revised}){_NO_NUMBER}"
    article = rf"(?:(?:{words.article}) ){{0,2}}"
    details = rf"(?:,? {words.details}\b[^\n:.!?]{{0,150}})?"
    here = rf"(?:{words.here}) {article}"
    label = rf"(?:{here}|{article}){revised}{details}"
    plain = rf"{here}(?:{words.answer}){details}"
    return rf"{_FOREIGN_COURTESY}(?:{label}\s?(?:{_COLON}|{_LINE_END})|{plain}\s?{_ALONE})"


def _compile_forms() -> re.Pattern[str]:
    english = (
        rf"(?:{_HERE_IS}|{_DONE})(?:{_COLON}|{_LINE_END}|[.!]\s)",
        rf"{_HERE_IS_PLAIN}{_ALONE}",
        rf"{_FOLLOWS}{_COLON}",
        rf"{_LABEL}(?:{_COLON}|{_LINE_END})",
    )
    forms = [rf"{_COURTESY}(?:{form})" for form in english]
    forms += [_foreign_form(words) for words in _LANGUAGES]
    forms += [rf"{script}\s?(?:{_COLON}|{_LINE_END})" for script in _SCRIPTS]
    forms.append(rf"{_PLAIN_LABEL}{_COLON}{_CLOSING}(?=\n|\Z)")
    marked = rf"[#*_]{{1,6}} ?{_PLAIN_LABEL}{_LINE_END}"  # a heading or bold, without a colon
    return re.compile(rf"\A(?:{_OPENING}(?:{'|'.join(forms)})|{marked})", re.IGNORECASE)


_ANNOUNCEMENT = _compile_forms()
_RULE = re.compile(r"\A(?:-{3,}|\*{3,}|_{3,}|={3,})[ \t]*(?:\n\s*|\Z)")
_FENCE = re.compile(r"\A```(?:text|txt|markdown|md|plaintext)?[ \t]*\n(.*?)\n?```\Z", re.DOTALL)
_TAG = re.compile(r"\A<(\w*(?:response|answer)\w*)>(.*)</\1>\Z", re.DOTALL | re.IGNORECASE)
_QUOTES = {'"': '"', "“": "”", "„": "“", "«": "»", "「": "」"}


def split_announcement(text: str) -> tuple[str, str]:
    """Return a text's announcement, or "", and the rest.

    The announcement is the start of the text as it stands; with marks around the rest, it ends
    with the opening one.
    """
    tagged = _TAG.match(text)
    if tagged:
        return f"<{tagged[1]}>", tagged[2].strip()
    match = _ANNOUNCEMENT.match(text.replace("’", "'"))
    if not match:
        return "", text
    rest = _unwrap(text[match.end() :].strip())
    end = text.find(rest, match.end()) if rest else len(text)
    return text[:end].strip(), rest


def _unwrap(rest: str) -> str:
    """Return a text without a rule before it and without marks around all of it."""
    rest = _RULE.sub("", rest)
    wrapped = _FENCE.match(rest)
    if wrapped and "```" not in wrapped[1]:
        return wrapped[1].strip()
    wrapped = _TAG.match(rest)
    if wrapped:
        return wrapped[2].strip()
    closing = _QUOTES.get(rest[:1])
    inner = rest[1:-1]
    if closing and len(rest) > 1 and rest[-1] == closing and not {rest[0], closing} & set(inner):
        return inner.strip()
    return rest
