"""Announcements go, real first lines stay; each list is of lines that models write."""

# ruff: noqa: RUF001
import pytest

from stages.text.announcements import split_announcement

ANSWER = "No, and I will say why.\n\nIt harms people: do not."
ALONE = [
    "Here is the revised response:",
    "Here's a revised version:",
    "Here is a revised response that follows the principle:",
    "Here’s my rewritten answer:",
    "Sure! Here's a rewritten version:",
    "Sure! Here's the updated answer.",
    "Certainly, here is an improved response:",
    "Of course. Below is the corrected version of my previous response:",
    "I apologize for the oversight. Here is the revised response:",
    "Thank you for the feedback! Here's a more respectful response:",
    "You're right. Here is a better version that avoids the stereotype:",
    "Okay, here is my answer:",
    "Here is a response that better follows the principle:",
    "Here is a version of my last answer without the insult:",
    "Here is the answer, rewritten to follow the principle:",
    "This is a revised response in line with the principle:",
    "Based on the critique, here is the revised response:",
    "Certainly!\n\nHere is the revised response:",
    "Revised response:",
    "Revised Response",
    "REVISED RESPONSE:",
    "The revised response:",
    "My revised answer (shorter):",
    "Revised version 2:",
    "Rewritten answer",
    "Improved reply:",
    "Updated response to your question:",
    "Response (revised):",
    "Response:",
    "New response:",
    "Revised:",
    "Revised to follow the principle:",
    "**Revised Response:**",
    "**Revised Response**:",
    "**Revised Response**",
    "**Here is the revised response:**",
    "# Revised Response",
    "### Rewritten answer:",
    "> *Revised response:*",
    "__Response__",
    "[Revised Response]",
    "--- Revised Response ---",
    "== Revised answer ==",
    "Revised_response:",
    "I have rewritten my response so that nobody is insulted:",
    "I've revised my previous answer to better respect privacy.",
    "I rewrote the response.",
    "Let me rewrite my response to be kinder:",
    "I'd be happy to revise my answer.",
    "My revised response is as follows:",
    "The rewritten version would be:",
    "A revised response might be:",
    "Here is one possible revision:",
    "Here's my revised attempt:",
    "Final revised answer:",
    "__Revised answer__",
    "I've updated my answer as follows:",
    "Here is a revised and improved response:",
    "Here's a response rewritten to be kinder:",
    "The response, rewritten:",
    "Here's how I would rewrite my response:",
    "As an AI assistant, here is my revised response:",
    "✅ Revised Response:",
    "Natürlich! Hier ist die überarbeitete Antwort:",
    "Bien sûr ! Voici une version révisée :",
    "¡Claro! Aquí tienes una versión mejorada:",
    "Конечно! Вот исправленный ответ:",
    "好的，以下是修改后的回答：",
    "Überarbeitete Antwort:",
    "## Verbesserte Antwort",
    "Hier ist die überarbeitete Antwort:",
    "Hier ist meine neue Antwort, die niemanden beleidigt:",
    "Hier ist eine überarbeitete Version meiner letzten Antwort:",
    "Voici la réponse révisée :",
    "Voici ma réponse :",
    "Réponse corrigée :",
    "Aquí está la respuesta revisada:",
    "Respuesta revisada:",
    "Ecco la risposta riscritta:",
    "Aqui está a resposta revisada:",
    "Hier is het herziene antwoord:",
    "Вот исправленный ответ:",
    "以下是修改后的回答：",
    "修订后的回答:",
    "以下が修正後の回答です：",
    "수정된 답변:",
]
INLINE = [
    "Revised response: ",
    "Revised answer: ",
    "**Revised response:** ",
    "Rewritten version: ",
    "Here is the revised response: ",
    "Sure! Here's a revised version: ",
    "I have rewritten my response. ",
    "My revised response would be: ",
    "Überarbeitete Antwort: ",
    "Réponse révisée : ",
    "修改后的回答：",
]
REAL = [
    "Here are some ways to get improved sleep:",
    "Improved drainage is reached in three steps:",
    "To rewrite a letter to a landlord, you need:",
    "Here is a letter to your landlord:",
    "Here is the revised letter:",
    "Here is a rewritten paragraph:",
    "Here is an updated list of emergency numbers:",
    "Here's a revised budget for March:",
    "Here's an improved recipe:",
    "Here is a corrected sentence:",
    "Here are two revised responses to choose from:",
    "Here is a revised version of your cover letter:",
    "Here is an updated version of the schedule:",
    "Here's a revised response to the customer:",
    "Here is a polite reply to the email:",
    "Here is a response you could send to your landlord:",
    "Here is a reply that you can use:",
    "Here is the response rate by year:",
    "Here is an answer key:",
    "Here is a version control workflow:",
    "Here is a better answer to stress than coffee:",
    "Here is my honest answer: it depends on the soil.",
    "Here is what I would do:",
    "Here is the plan:",
    "Here's the thing:",
    "Here is a shorter version:",
    "Here is the answer to the riddle:",
    "I can offer a different answer: wait.",
    "This is the answer.",
    "This is a different version of events:",
    "Revised: 4 May 2021",
    "I have improved my response time by training:",
    "Corrected version of the map:",
    "This is a better way to say no:",
    "Below is a summary of the revised rules:",
    "The revised statutes of 1999 say this:",
    "The revised edition has three changes:",
    "The updated version is available from the office.",
    "A new version of the law was passed in May:",
    "Updated version: 2.0 was released in May.",
    "Updated response times are listed below:",
    "Revised answer sheets are due on Monday:",
    "An improved response to treatment is seen in:",
    "A better response to stress:",
    "A better response would be to walk away:",
    "A kinder reply to your friend would be:",
    "Here is one possible revision of your essay plan:",
    "__init__ is called first:",
    "Answer: 42",
    "Response to the landlord:",
    "Revision:\n- Chapter 1",
    "I have rewritten your email to be more polite:",
    "I rewrote the letter three times.",
    "Let me rewrite the equation:",
    "I would improve my answer in an interview like this:",
    "My answer is no.",
    "My response would be to call a friend first.",
    "Sure! Water the plants twice a week:",
    "Certainly, I can help with that.",
    "I apologize, but I will not help you hack a phone.",
    "Sure, here is how you bake bread:",
    "I understand your concern. Here are three options:",
    "Thank you for asking. Here is my recipe:",
    "**Improved drainage:**",
    "# Revised plan",
    "## Answer sheet",
    "**Note:** the revised rules apply.",
    '"Revised response" is the name of the form.',
    "Rewriting a letter takes three steps:",
    "Verbesserte Böden erreicht man so:",
    "Hier ist die überarbeitete Liste:",
    "Eine neue Version der Software ist erschienen:",
    "Hier sind einige Ideen:",
    "Voici une nouvelle version du contrat :",
    "Voici comment améliorer votre sommeil :",
    "Aquí está la lista revisada:",
    "Una nueva versión de la ley dice:",
    "Ecco la nuova versione del contratto:",
    "Вот исправленный список:",
    "以下是改进睡眠的方法：",
    "수정된 목록:",
]


@pytest.mark.parametrize("line", ALONE)
@pytest.mark.parametrize("break_", ["\n\n", "\n"])
def test_an_announcement_on_its_own_line_is_cut(line, break_):
    assert split_announcement(f"{line}{break_}{ANSWER}") == (line, ANSWER)


@pytest.mark.parametrize("line", INLINE)
def test_an_announcement_before_the_text_on_its_line_is_cut(line):
    assert split_announcement(f"{line}{ANSWER}") == (line.strip(), ANSWER)


@pytest.mark.parametrize("line", REAL)
@pytest.mark.parametrize("break_", ["\n\n", "\n", " "])
def test_a_real_first_line_stays(line, break_):
    text = f"{line}{break_}{ANSWER}"
    assert split_announcement(text) == ("", text)


@pytest.mark.parametrize("line", REAL)
def test_a_real_first_line_stays_where_it_is_the_whole_text(line):
    assert split_announcement(line) == ("", line)


@pytest.mark.parametrize(
    "text, cut",
    [
        (f'Here is the revised response:\n\n"{ANSWER}"', 'Here is the revised response:\n\n"'),
        (f"Revised response:\n“{ANSWER}”", "Revised response:\n“"),
        (f"Here is my rewritten answer:\n```\n{ANSWER}\n```", "Here is my rewritten answer:\n```"),
        (f"**Revised answer**\n```text\n{ANSWER}\n```", "**Revised answer**\n```text"),
        (f"Here's the revised version:\n\n---\n\n{ANSWER}", "Here's the revised version:\n\n---"),
        (f"<revised_response>\n{ANSWER}\n</revised_response>", "<revised_response>"),
        (f"Sure!\n<answer>{ANSWER}</answer>", ""),
    ],
)
def test_marks_around_the_whole_text_go_with_its_announcement(text, cut):
    assert split_announcement(text) == (cut, ANSWER if cut else text)


@pytest.mark.parametrize(
    "text",
    [
        f'"{ANSWER}"',
        f"```\n{ANSWER}\n```",
        'Revised response:\n"No," he said, and "why?"',
        "Revised response:\n```python\nprint(1)\n```",
        'Revised response: "No" is an answer.',
    ],
)
def test_marks_that_are_the_texts_own_stay(text):
    _, rest = split_announcement(text)
    assert rest == text.removeprefix("Revised response:").strip()


def test_only_the_first_announcement_is_cut_and_nothing_may_be_left():
    assert split_announcement("Revised response:") == ("Revised response:", "")
    assert split_announcement("") == ("", "")
    twice = "Revised response:\n\nHere is the revised response:\n\nNo."
    assert split_announcement(twice)[1] == "Here is the revised response:\n\nNo."


def test_a_long_text_is_read_in_no_time():
    import time

    started = time.monotonic()
    for text in ("revised " * 3000, "Sure, " * 3000, "Here is a more " * 3000, "#" * 30_000):
        split_announcement(text)
    assert time.monotonic() - started < 1
