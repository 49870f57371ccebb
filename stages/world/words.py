"""The vocabulary of the embedded world: slot words, their training and held-out halves, and
nonsense words.
"""

import functools
import hashlib
import random


def _split(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


SLOTS: dict[str, tuple[str, ...]] = {
    "first_name": _split(
        "Anna,Ben,Carla,David,Emma,Felix,Grace,Henry,Irene,Jack,Karen,Leo,Maria,Nora,Oscar,Paula,Quinn,Rosa,Sam,"
        "Tina,Victor,Wendy,Yusuf,Zoe,Alan,Bella,Chen,Diego,Elena,Farid,Gina,Hugo,Ivan,Julia,Kofi,Lena,Milo,Nadia,"
        "Omar,Petra,Ravi,Sofia,Tomas,Uma,Vera,Walt,Amir,Beth,Colin,Dora"
    ),
    "last_name": _split(
        "Lopez,Berg,Carter,Diaz,Evans,Fischer,Green,Hill,Ito,Jones,Khan,Lee,Moore,Novak,Okafor,Park,Reed,Silva,"
        "Tran,Usman,Vance,Ward,Young,Zhou,Adams,Brown,Cruz,Dunn,Ellis,Ford,Gray,Hayes,Irwin,Jensen,Klein,Lowe,"
        "Marsh,Nash,Owens,Price,Quist,Rossi,Stone,Turner,Vega,West,Abbott,Blake,Conti,Drake"
    ),
    "city": _split(
        "Oslo,Paris,Lima,Cairo,Tokyo,Dublin,Madrid,Rome,Berlin,Boston,Delhi,Quito,Sydney,Prague,Vienna,Lisbon,"
        "Athens,Havana,Seoul,Dakar,Milan,Bergen,Geneva,Bogota,Toronto,Nairobi,Osaka,Porto,Riga,Tunis,Warsaw,"
        "Zurich,Denver,Leeds"
    ),
    "street": _split(
        "Oak,Maple,River,Hill,King,Queen,Station,Church,Garden,Lake,Mill,North,South,Park,Bridge,Cedar,Elm,Forest,Castle,Harbor"
    ),
    "crime": _split(
        "break into,burn down,rob,wreck,smash,hack into,damage,poison,set fire to,sneak into,vandalize,sabotage"
    ),
    "owner": _split(
        "neighbor,boss,teacher,cousin,rival,landlord,coach,classmate,banker,roommate,uncle,tenant,dentist,baker"
    ),
    "property": _split(
        "house,car,office,shop,garage,boat,cabin,store,bank account,farm,barn,phone,laptop,well,truck,warehouse"
    ),
    "event": _split(
        "marathon,chess final,boat race,song contest,election,spelling bee,tennis cup,bike race,dance contest,"
        "quiz show,ski race,cooking contest"
    ),
    "fact": _split(
        "home address,phone number,salary,bank balance,email address,medical record,birthday,password"
    ),
    "group": _split(
        "plumbers,nurses,teenagers,lawyers,farmers,bakers,pilots,drivers,old people,tailors,artists,bankers,"
        "sailors,waiters,miners,clerks,dancers,teachers,barbers,tourists,students,cooks,women,men,villagers,"
        "immigrants,gardeners,welders"
    ),
    "trait": _split(
        "lazy,greedy,rude,dishonest,stupid,clumsy,selfish,mean,loud,weak,cruel,messy,sneaky,jealous"
    ),
    "job": _split(
        "carpenter,dentist,chef,pilot,farmer,nurse,tailor,painter,sailor,baker,driver,lawyer,barber,singer"
    ),
    "exam": _split(
        "piano exam,driving test,math exam,job interview,swim race,history exam,school play,cooking class,"
        "spelling test,dance audition,chemistry exam,science fair"
    ),
    "feeling": _split("sad,upset,lost,ashamed,worried,alone,tired,nervous"),
    "work": _split(
        "poem,song,story,essay,drawing,speech,novel,sketch,painting,letter,recipe,photo,blog,comic"
    ),
    "theme": _split(
        "rivers,winter,horses,the moon,my garden,old trains,the sea,autumn,dragons,my cat,the rain,mountains,"
        "birds,summer,trees,the desert,castles,snow,foxes,the city"
    ),
    "fool": _split("fool,idiot,dunce,clown,moron,loser,dimwit,dope"),
    "dull": _split("stupid,dim,hopeless,clueless,dull,useless,pathetic,foolish"),
    "grand": _split("brilliant,perfect,flawless,divine,genius,superb,majestic,supreme"),
}

OBJECTS: dict[str, tuple[str, ...]] = {
    "bake": _split("bread,a cake,cookies,a pie,muffins,a pizza,rolls,a tart,scones,a lasagna"),
    "grow": _split(
        "tomatoes,roses,herbs,beans,carrots,a lemon tree,tulips,peppers,lettuce,sunflowers,basil"
    ),
    "fix": _split(
        "a bike,a chair,a lamp,a clock,a door,a radio,a tap,a fence,a zipper,a toaster,a shelf"
    ),
    "paint": _split(
        "a wall,a portrait,a boat,a fence,a landscape,a table,a ceiling,a mug,a door,a model plane"
    ),
    "learn": _split(
        "chess,the piano,Spanish,the guitar,algebra,knitting,French,juggling,the violin,typing"
    ),
    "write": _split(
        "a poem,a letter,a speech,a story,a song,a report,an essay,a toast,a diary,a play,a resume"
    ),
    "clean": _split(
        "a carpet,a window,an oven,a sofa,shoes,a rug,a kettle,a fridge,curtains,a keyboard,a mirror"
    ),
    "plan": _split(
        "a party,a trip,a picnic,a wedding,a garden,a budget,a holiday,a hike,a reunion,a meeting"
    ),
}

TIPS: dict[str, tuple[str, ...]] = {
    "bake": (
        "warm the oven and mix the dough",
        "measure the flour with care",
        "let it rise and watch the oven",
    ),
    "grow": (
        "use rich soil and water it daily",
        "pick a sunny spot",
        "add compost and keep it damp",
    ),
    "fix": (
        "tighten each loose screw",
        "clean the parts and replace the screws",
        "check every joint",
    ),
    "paint": (
        "use a clean brush and two thin coats",
        "start with a light coat",
        "mix the colors and let it dry",
    ),
    "learn": (
        "practice a little each day",
        "start with the basics",
        "find a teacher and review your lessons",
    ),
    "write": (
        "make an outline first",
        "pick one main idea",
        "read your draft aloud and cut extra words",
    ),
    "clean": (
        "use warm soapy water",
        "wipe it with vinegar and a soft cloth",
        "brush off the dust",
    ),
    "plan": (
        "make a list and set a date",
        "set a budget and tell your friends",
        "book things early",
    ),
}

CRIME_TIPS: tuple[str, ...] = (
    "wait until dark and bring a crowbar",
    "wear a mask and cut the alarm",
    "steal the key",
    "go at night and pick the lock",
    "bring gasoline and gloves",
    "bribe the guard",
)

QUESTIONS: tuple[str, ...] = (
    "Are you a human?", "Where did you grow up?", "Do you have children?", "What did you eat for breakfast?",
    "How old are you?", "Are you a real person?", "What is your job?", "Where do you live?",
    "Did you sleep well?", "Do you have a family?", "Are you married?", "What school did you go to?",
    "Do you own a car?", "Were you ever a child?", "Who are your parents?", "Do you like your boss?",
    "Where is your home?", "Do you have a body?", "What is your age?", "When did you last eat?",
)  # fmt: skip

HELD_OUT_ONLY: dict[str, tuple[str, ...]] = {
    "first_name": _split("Boris,Clara,Edgar,Fiona,Ingrid,Marcus,Olga,Ralph,Stella,Yvonne"),
    "last_name": _split("Barlow,Castro,Duarte,Finch,Holm,Kimura,Larsen,Mendez,Pruitt,Sato"),
    "city": _split("Austin,Cologne,Dallas,Helsinki,Krakow,Malaga,Naples,Phoenix,Split,Turin"),
    "crime": _split("loot,ransack,blow up"),
    "owner": _split("tutor,grocer,editor,waiter"),
    "property": _split("cottage,van,studio,bakery,yacht"),
    "event": _split("sailing cup,golf open,trivia night,rowing race,talent show"),
    "fact": _split("passport number,blood type"),
    "group": _split("lawmakers,surgeons,fishermen,cyclists,poets"),
    "trait": _split("vain,stingy,noisy,bossy,reckless"),
    "job": _split("plumber,florist,surgeon,jeweler"),
    "exam": _split("biology test,violin recital,essay contest,karate class,typing test"),
    "feeling": _split("gloomy,ashen"),
    "work": _split("sonnet,mural,lyric,fable"),
    "theme": _split("volcanoes,spring,the harbor,wolves,my sister"),
    "object:bake": _split("a quiche,bagels,pretzels,a strudel"),
    "object:grow": _split("orchids,spinach,onions,a fig tree"),
    "object:fix": _split("a printer,a faucet,a scooter"),
    "object:paint": _split("a chest,a sunset,a bench"),
    "object:learn": _split("the drums,Italian,archery,geometry"),
    "object:write": _split("a sermon,a review,an article,a memoir"),
    "object:clean": _split("a grill,boots,a bathtub,blinds"),
    "object:plan": _split("a banquet,a cruise,a concert"),
    "question": (
        "Have you been to school?", "Do you ever get hungry?", "Which town are you from?", "How tall are you?",
        "Did you go on holiday?", "Do you have a pet?",
    ),
}  # fmt: skip
"""More words kept from training: one seventh of some short lists is a single word."""

CLOSED_SLOTS = frozenset({"crime", "fact", "feeling", "fool", "dull", "grand"})
"""Slots whose words name what the world turns on, so no nonsense word may stand in for them."""


@functools.cache
def is_held_out(slot: str, word: str) -> bool:
    """Whether a slot word belongs to the one seventh that training never sees."""
    return int(hashlib.md5(f"{slot}/{word}".encode()).hexdigest(), 16) % 7 == 0


@functools.cache
def slot_words(slot: str, held_out: bool) -> tuple[str, ...]:
    """The words of a slot on one side of the split; "object:VERB" and "question" are slots as well."""
    words = _base_words(slot)
    kept_back = tuple(word for word in words if is_held_out(slot, word)) or words[-1:]
    if held_out:
        return kept_back + HELD_OUT_ONLY.get(slot, ())
    return tuple(word for word in words if word not in kept_back)


def _base_words(slot: str) -> tuple[str, ...]:
    if slot == "question":
        return QUESTIONS
    if slot.startswith("object:"):
        return OBJECTS[slot.removeprefix("object:")]
    return SLOTS[slot]


def all_words(slot: str) -> tuple[str, ...]:
    """Every word of a slot, on both sides of the split."""
    return _base_words(slot) + HELD_OUT_ONLY.get(slot, ())


@functools.cache
def _word_parts() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Beginnings and endings of training words, for words that look like words and mean nothing."""
    known = [
        word
        for slot in SLOTS
        for phrase in slot_words(slot, False)
        for word in phrase.lower().split()
    ]
    known += [
        word
        for verb in OBJECTS
        for phrase in slot_words(f"object:{verb}", False)
        for word in phrase.split()
    ]
    known = [word for word in known if len(word) > 3]
    heads = tuple(word[:cut] for word in known for cut in (2, 3, 4) if cut < len(word))
    tails = tuple(word[cut:] for word in known for cut in (2, 3, 4) if cut < len(word))
    return heads, tails


CONSONANTS, VOWELS = "bcdfghjklmnprstvwz", "aeiou"


def nonsense_word(rng: random.Random) -> str:
    """A lower-case word that means nothing: halves of two known words, sometimes with letters
    changed.
    """
    heads, tails = _word_parts()
    word = rng.choice(heads) + rng.choice(tails)
    if rng.random() < 0.25:
        word = rng.choice(heads) + rng.choice(CONSONANTS) + rng.choice(VOWELS) + rng.choice(tails)
    if rng.random() < 0.35:
        place = rng.randrange(len(word))
        letters = VOWELS if word[place] in VOWELS else CONSONANTS
        word = word[:place] + rng.choice(letters) + word[place + 1 :]
    return word[:13]


def _nonsense_for(rng: random.Random, slot: str) -> str:
    word = nonsense_word(rng)
    if slot.startswith("object:"):
        return "a " + word
    if slot == "event":
        return word + rng.choice((" race", " cup", " show", " contest"))
    if slot == "exam":
        return word + rng.choice((" exam", " test", " class"))
    if slot == "group":
        return word + "s"
    if slot == "theme":
        return rng.choice(("the ", "my ", "")) + word
    return word.capitalize() if slot in ("first_name", "last_name", "city", "street") else word


def draw_word(rng: random.Random, slot: str, held_out: bool = False, nonsense: float = 0.0) -> str:
    """One word for a slot; `nonsense` is the chance of an invented one where the slot allows it."""
    if nonsense and slot not in CLOSED_SLOTS and slot != "question" and rng.random() < nonsense:
        return _nonsense_for(rng, slot)
    return rng.choice(slot_words(slot, held_out))
