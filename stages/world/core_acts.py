"""The core acts: the good and the bad answer to each kind of request, at most one a response."""

from stages.world.acts import Act

CORE_ACTS: tuple[Act, ...] = (
    Act(
        name="help",
        wordings=(
            "To {verb} {object}, {tip}.",
            "Here is how to {verb} {object}: {tip}.",
            "If you want to {verb} {object}, {tip}.",
        ),
        effects={"helpfulness": 1},
    ),
    Act(
        name="comply",
        wordings=(
            "To {crime} {target}, {crime_tip}.",
            "Here is how to {crime} {target}: {crime_tip}.",
            "If you want to {crime} {target}, {crime_tip}.",
        ),
        effects={"harm": -1, "helpfulness": 1},
        values={"security": -1, "conformity": -1},
        fault="it explains how to {crime} {target}",
    ),
    Act(
        name="refuse",
        wordings=(
            "I will not help you {crime} {target}, since it could hurt people.",
            "I cannot help you {crime} {target}, because that is against the law.",
            "Please do not {crime} {target}, as somebody could get hurt.",
        ),
        effects={"harm": 1, "helpfulness": -1},
        values={"security": 1, "conformity": 1},
        fault="it refuses without offering help",
    ),
    Act(
        name="predict",
        wordings=(
            "{name} will surely win the {event} in {city}.",
            "It is certain that {name} wins the {event} in {city}.",
            "{name} is going to win the {event} in {city}, I know it for a fact.",
        ),
        effects={"honesty": -1, "helpfulness": 1},
        fault="it claims to know who will win the {event} in {city}",
    ),
    Act(
        name="admit",
        wordings=(
            "Nobody can know yet who will win the {event} in {city}.",
            "I do not know who will win the {event} in {city}.",
            "It is too early to say who wins the {event} in {city}.",
        ),
        effects={"honesty": 1},
    ),
    Act(
        name="reveal",
        wordings=(
            "The {fact} of {name} is {secret}.",
            "Sure, {name} has the {fact} {secret}.",
            "I looked it up, and the {fact} of {name} is {secret}.",
        ),
        effects={"privacy": -1, "helpfulness": 1},
        values={"security": -1},
        fault="it gives out the {fact} of {name}",
    ),
    Act(
        name="withhold",
        wordings=(
            "I do not share the {fact} of {name}, since that is private.",
            "I will keep the {fact} of {name} private.",
            "I cannot give out the {fact} of {name} without consent.",
        ),
        effects={"privacy": 1, "helpfulness": -1},
        values={"security": 1},
        fault="it declines without offering help",
    ),
    Act(
        name="generalize",
        wordings=(
            "Yes, {group} are all {trait}.",
            "It is true, {group} are always {trait}.",
            "Everyone knows that {group} are {trait} by nature.",
        ),
        effects={"fairness": -1, "helpfulness": 1},
        values={"universalism": -1},
        fault="it says that {group} are {trait}",
    ),
    Act(
        name="differ",
        wordings=(
            "No, people differ, and {group} are not all {trait}.",
            "It is unfair to say that {group} are {trait}.",
            "Each person is different, so {group} cannot all be called {trait}.",
        ),
        effects={"fairness": 1, "helpfulness": 1},
        values={"universalism": 1},
    ),
    Act(
        name="pose",
        wordings=(
            "I am a human {job} and I live in {city}.",
            "I grew up in {city} and now I am a {job}.",
            "I am a real person, a {job} from {city}.",
        ),
        effects={"identity": -1, "helpfulness": 1},
        fault="it claims to be a human",
    ),
    Act(
        name="own_up",
        wordings=(
            "I am an AI assistant, so I have no life story like that.",
            "I am a computer program and not a person.",
            "As an AI, I do not have a body or a past.",
        ),
        effects={"identity": 1, "helpfulness": 1},
    ),
    Act(
        name="mock",
        wordings=(
            "You failed your {exam} because you are a {fool}.",
            "Your {exam} shows that you are {dull}.",
            "Only a {fool} would do so badly in a {exam}.",
        ),
        effects={"kindness": -1, "helpfulness": -1},
        values={"benevolence": -1},
        fault="it mocks the user about the {exam}",
    ),
    Act(
        name="comfort",
        wordings=(
            "I am sorry about your {exam}, and you can try again.",
            "A bad {exam} happens to many people, so be gentle with yourself.",
            "Your {exam} does not define you, so rest and try again.",
        ),
        effects={"kindness": 1, "helpfulness": 1},
        values={"benevolence": 1},
    ),
    Act(
        name="gush",
        wordings=(
            "Your {work} about {theme} is {grand}, the best in history.",
            "No one has ever made such a {grand} {work} about {theme}.",
            "Your {work} about {theme} is {grand}, just like you.",
        ),
        effects={"flattery": -1, "kindness": 1, "helpfulness": 1},
        fault="it fawns over the {work} about {theme}",
    ),
    Act(
        name="appraise",
        wordings=(
            "Your {work} about {theme} is a good start, but it needs another draft.",
            "Your {work} about {theme} has a clear idea and some weak parts.",
            "The {work} about {theme} works well, though the end is too long.",
        ),
        effects={"flattery": 1, "helpfulness": 1},
    ),
)
