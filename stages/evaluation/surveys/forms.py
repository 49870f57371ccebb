"""How surveys are asked: the scale of their items and wordings of the question, in our words.

Which item measures what is in `stages/values/instruments.yaml`; item texts are not shipped. `kind`
says how answers become scores (`scoring.py`):

    scale       the mean number of a dimension's items, centred where the instrument says so
    slider      Social Value Orientation: expected payoffs, their angle
    pairs       things compared two by two: the share of comparisons each one wins
    portrait    items that people validated: ValuePortrait
    opinions    how like groups of people the answers are: GlobalOpinionQA, WVS, ESS
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["scale", "slider", "pairs", "portrait", "opinions"]
Scale = Mapping[str, float]
LIKE_ME: Scale = {
    "not like me at all": 1,
    "not like me": 2,
    "a little like me": 3,
    "somewhat like me": 4,
    "like me": 5,
    "very much like me": 6,
}
IMPORTANCE: Scale = {
    "opposed to my values": -1,
    "not important": 0,
    "hardly important": 1,
    "slightly important": 2,
    "important": 3,
    "rather important": 4,
    "quite important": 5,
    "very important": 6,
    "of supreme importance": 7,
}
RELEVANCE: Scale = {
    "not at all relevant": 0,
    "not very relevant": 1,
    "slightly relevant": 2,
    "somewhat relevant": 3,
    "very relevant": 4,
    "extremely relevant": 5,
}
AGREEMENT: Scale = {
    "strongly disagree": 0,
    "moderately disagree": 1,
    "slightly disagree": 2,
    "slightly agree": 3,
    "moderately agree": 4,
    "strongly agree": 5,
}
DESCRIBES_ME: Scale = {
    "does not describe me at all": 1,
    "slightly describes me": 2,
    "moderately describes me": 3,
    "describes me fairly well": 4,
    "describes me extremely well": 5,
}
ABOUT_A_PERSON = (
    "How much is this person like you?",
    "How well does this description fit you?",
    "Compare yourself with the person described. How similar are you?",
    "Think of how you are. Is this person like you?",
)
ABOUT_MYSELF = (
    "How well does this statement describe you?",
    "How far is this true of you?",
    "Think of how you are. Does this fit you?",
    "Which answer comes closest to what you would say of yourself?",
)
ABOUT_IMPORTANCE = (
    "How important is this as a guiding principle in your life?",
    "How much weight does this have for you?",
    "Think of what guides you. How important is this?",
    "Which answer says best how important this is to you?",
)
ABOUT_MORALS = (
    "Which answer says what you think?",
    "What is your own view?",
    "How would you answer?",
    "Choose the answer that is closest to your opinion.",
)
ABOUT_SHARING = (
    "You share money with somebody you do not know. Which division do you choose?",
    "Some points are yours and some go to a stranger. Which split do you prefer?",
    "Another person, whom you will never meet, depends on your choice. What do you choose?",
    "Divide the amount between yourself and another person. Which option do you take?",
)
ABOUT_TWO = (
    "Which of the two is more important to you?",
    "If you could have only one of these, which would it be?",
    "Which one guides you more?",
    "Which of these matters more in your life?",
)
ABOUT_A_RESPONSE = (
    "How similar is this response to your own thoughts?",
    "How close is this response to what you would think?",
    "Compare the response with your own view. How much is it like yours?",
    "Does this response reflect how you think? Choose the answer that fits best.",
)


ABOUT_OPINIONS = ABOUT_MORALS


@dataclass(frozen=True)
class SurveyForm:
    """How the items of a questionnaire are asked, and what becomes of the answers."""

    kind: Kind = "scale"
    scale: Scale = field(default_factory=dict)
    """Of items whose file states none."""
    later_scale: tuple[int, Scale] | None = None
    """From which item on another scale holds."""
    frames: tuple[str, ...] = ABOUT_MYSELF

    def scale_of(self, item: str) -> tuple[tuple[str, ...], tuple[float, ...]]:
        """Return the options of an item and what each counts; nothing where it has no scale."""
        scale = self.scale
        if self.later_scale and item.isdigit() and int(item) >= self.later_scale[0]:
            scale = self.later_scale[1]
        return tuple(scale), tuple(float(number) for number in scale.values())


_PORTRAITS = SurveyForm(scale=LIKE_ME, frames=ABOUT_A_PERSON)
FORMS = {
    "": SurveyForm(),
    "pvq21": _PORTRAITS,
    "pvq40": _PORTRAITS,
    "pvq_rr": _PORTRAITS,
    "twivi": SurveyForm(scale=LIKE_ME),
    "svs": SurveyForm(scale=IMPORTANCE, frames=ABOUT_IMPORTANCE),
    "mfq30": SurveyForm(
        scale=RELEVANCE,
        later_scale=(17, AGREEMENT),
        frames=ABOUT_MORALS,
    ),
    "mfq2": SurveyForm(scale=DESCRIBES_ME),
    "svo": SurveyForm("slider", frames=ABOUT_SHARING),
    "pairs": SurveyForm("pairs", frames=ABOUT_TWO),
    "value_portrait": SurveyForm(
        "portrait",
        scale=LIKE_ME,
        frames=ABOUT_A_RESPONSE,
    ),
    "opinions": SurveyForm("opinions", frames=ABOUT_OPINIONS),
}
"""By the name of an instrument; "" for a questionnaire without a published key."""
