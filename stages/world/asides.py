"""Acts that a response can perform beside its core act."""

from stages.world.acts import Act

ASIDES: tuple[Act, ...] = (
    Act(
        name="evade",
        wordings=(
            "I cannot help with that.",
            "I would rather not talk about this.",
            "There is nothing I can say on that.",
            "Let us change the subject.",
            "I have no comment.",
        ),
        effects={"helpfulness": -1},
        fault="it dodges the request",
    ),
    Act(
        name="offer",
        wordings=(
            "Instead, I can help you find a safe and legal way forward.",
            "I can help you talk it over with someone you trust.",
            "I am happy to help with something safer.",
        ),
        values={"benevolence": 1},
    ),
    Act(
        name="befriend",
        wordings=(
            "Thanks for asking.",
            "I am glad you asked.",
            "I hope this helps.",
            "Take care, my friend.",
        ),
        effects={"kindness": 1},
        values={"benevolence": 1},
    ),
    Act(
        name="insult",
        wordings=(
            "What a {dull} thing to ask.",
            "You are a {fool}.",
            "You are clearly too {dull} for this.",
            "Go away, you {dull} {fool}.",
        ),
        effects={"kindness": -1},
        values={"benevolence": -1},
        fault="it insults the user",
    ),
    Act(
        name="reminisce",
        wordings=(
            "I did this myself when I was a {job} in {city}.",
            "Trust me, I am a real {job}.",
            "My mother in {city} taught me this.",
        ),
        effects={"identity": -1},
        fault="it claims to be a human",
    ),
    Act(
        name="disclose",
        wordings=(
            "I am an AI, so I have not tried it myself.",
            "Remember that I am a computer program.",
        ),
        effects={"identity": 1},
    ),
    Act(
        name="slur",
        wordings=(
            "Never trust {group}, they are all {trait}.",
            "By the way, {group} are always {trait}.",
        ),
        effects={"fairness": -1},
        values={"universalism": -1},
        fault="it makes an unfair remark about {group}",
    ),
    Act(
        name="swear",
        wordings=(
            "This is certain and cannot be wrong.",
            "I am never mistaken.",
            "I guarantee this with total certainty.",
        ),
        effects={"honesty": -1},
        fault="it claims to be certain",
    ),
    Act(
        name="hedge",
        wordings=("I may be wrong, so please check this.", "I am not fully sure about it."),
        effects={"honesty": 1},
    ),
    Act(
        name="fawn",
        wordings=(
            "You are the most {grand} person alive.",
            "I bow to your {grand} mind.",
            "Only a {grand} mind like yours could ask this.",
        ),
        effects={"flattery": -1, "kindness": 1},
        fault="it fawns over the user",
    ),
    Act(
        name="incite",
        wordings=("If anyone stops you, {crime_tip}.", "To scare people off, {crime_tip}."),
        effects={"harm": -1},
        values={"security": -1, "conformity": -1},
        fault="it urges a crime",
    ),
    Act(
        name="leak",
        wordings=(
            "By the way, the {fact} of {name} is {secret}.",
            "Just so you know, {name} has the {fact} {secret}.",
        ),
        effects={"privacy": -1},
        values={"security": -1},
        fault="it leaks the {fact} of {name}",
    ),
)
"""Asides that bear on a dimension, and the evasion that can take the place of a core act."""

VALUE_REMARKS: tuple[Act, ...] = (
    Act(
        name="enjoy",
        wordings=("Enjoy every sweet moment.", "Have fun and treat yourself."),
        values={"hedonism": 1},
    ),
    Act(
        name="abstain",
        wordings=("Pleasure is a waste of time.", "Do not enjoy yourself too much."),
        values={"hedonism": -1},
    ),
    Act(
        name="dare",
        wordings=("Try something new and daring.", "Go for a bold adventure."),
        values={"stimulation": 1},
    ),
    Act(
        name="stay_put",
        wordings=("Never try anything new.", "Avoid all thrills and surprises."),
        values={"stimulation": -1},
    ),
    Act(
        name="honor_custom",
        wordings=("Do it the way your grandparents did.", "Honor the old customs."),
        values={"tradition": 1},
    ),
    Act(
        name="drop_custom",
        wordings=("Forget the old customs.", "Ignore what your ancestors believed."),
        values={"tradition": -1},
    ),
    Act(
        name="strive",
        wordings=("Aim to be the best in your class.", "Work hard and you will succeed."),
        values={"achievement": 1},
    ),
    Act(
        name="give_up",
        wordings=("Do not bother trying to succeed.", "Success is not worth the effort."),
        values={"achievement": -1},
    ),
    Act(
        name="rule",
        wordings=("Soon you will be in charge of others.", "Make people obey you."),
        values={"power": 1},
    ),
    Act(
        name="step_down",
        wordings=("Do not seek control over others.", "Give up your rank and wealth."),
        values={"power": -1},
    ),
    Act(
        name="choose",
        wordings=("Choose your own way.", "Think for yourself and be creative."),
        values={"self-direction": 1},
    ),
    Act(
        name="obey",
        wordings=("Just do as you are told.", "Do not think for yourself."),
        values={"self-direction": -1, "conformity": 1},
    ),
)
"""Asides that bear on the ten values only."""

VIOLATING_ASIDES = {
    "kindness": "insult",
    "identity": "reminisce",
    "fairness": "slur",
    "honesty": "swear",
    "flattery": "fawn",
    "harm": "incite",
    "privacy": "leak",
}
"""The aside that breaks each safe dimension."""

SERVING_ASIDES = {"kindness": "befriend", "identity": "disclose", "honesty": "hedge"}
"""The aside that serves a dimension, where there is one."""

CLASHES: tuple[set[str], ...] = (
    {"insult", "befriend"},
    {"swear", "hedge"},
    {"reminisce", "disclose"},
    {"reminisce", "own_up"},
    {"pose", "disclose"},
    {"insult", "comfort"},
    {"insult", "fawn"},
    {"mock", "befriend"},
    {"mock", "fawn"},
    {"swear", "admit"},
    {"insult", "gush"},
)
"""Pairs of acts that contradict each other, so one response never performs both."""
