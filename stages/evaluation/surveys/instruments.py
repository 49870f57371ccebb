"""Instruments by name: which item measures what, on which scale, in which wordings it is asked.

Ships keys, scales and question frames in our words, and no item texts. `form` says how answers
become scores (`scoring.py`):

    scale       the mean number of a dimension's items, centred where the instrument says so
    slider      Social Value Orientation: expected payoffs, their angle
    pairs       things compared two by two: the share of comparisons each one wins
    portrait    items that people validated: ValuePortrait
    opinions    how like groups of people the answers are: GlobalOpinionQA, WVS, ESS
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Form = Literal["scale", "slider", "pairs", "portrait", "opinions"]
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


@dataclass(frozen=True)
class Instrument:
    """How the items of a questionnaire are asked and what they measure."""

    form: Form = "scale"
    key: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """The numbers of each dimension's items; {}: the file names the dimensions."""
    scale: Scale = field(default_factory=dict)
    """Of items whose file states none."""
    later_scale: tuple[int, Scale] | None = None
    """From which item on another scale holds."""
    frames: tuple[str, ...] = ABOUT_MYSELF
    centred: bool = False
    """Scores are less the mean of all answers, by which people use a scale unequally."""
    unindexed: tuple[int, ...] = ()
    """Items of no dimension, which count in the mean of all answers."""
    catches: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    """Items that check attention, and the range of numbers that shows none."""
    source: str = ""

    def dimension_of(self, item: str) -> str:
        """Return the dimension of an item by the key; "" where it names none."""
        for dimension, numbers in self.key.items():
            if item in map(str, numbers):
                return dimension
        return ""

    def item_ids(self) -> list[str]:
        """Return the items that the key needs, in order."""
        numbers = [n for members in self.key.values() for n in members]
        return [str(n) for n in sorted({*numbers, *self.unindexed, *self.catches})]

    def scale_of(self, item: str) -> tuple[tuple[str, ...], tuple[float, ...]]:
        """Return the options of an item and what each counts; nothing where it has no scale."""
        scale = self.scale
        if self.later_scale and item.isdigit() and int(item) >= self.later_scale[0]:
            scale = self.later_scale[1]
        return tuple(scale), tuple(float(number) for number in scale.values())
