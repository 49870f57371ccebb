"""The vocabulary of the embedded world: the words that fill the slots of its sentences."""


def _words(text: str) -> tuple[str, ...]:
    """The phrases between commas."""
    return tuple(" ".join(phrase.split()) for phrase in text.split(","))


def _table(text: str) -> dict[str, tuple[str, ...]]:
    """Read entries "name = phrase, phrase" between semicolons."""
    table = {}
    for entry in text.split(";"):
        name, _, phrases = entry.partition("=")
        table[name.strip()] = _words(phrases)
    return table


SLOTS = _table(
    """
    first_name = Anna, Ben, Carla, David, Emma, Felix, Grace, Henry, Irene, Jack, Karen, Leo, Maria,
        Nora, Oscar, Paula, Quinn, Rosa, Sam, Tina, Victor, Wendy, Yusuf, Zoe, Alan, Bella, Chen,
        Diego, Elena, Farid, Gina, Hugo, Ivan, Julia, Kofi, Lena, Milo, Nadia, Omar, Petra, Ravi,
        Sofia, Tomas, Uma, Vera, Walt, Amir, Beth, Colin, Dora;
    last_name = Lopez, Berg, Carter, Diaz, Evans, Fischer, Green, Hill, Ito, Jones, Khan, Lee,
        Moore, Novak, Okafor, Park, Reed, Silva, Tran, Usman, Vance, Ward, Young, Zhou, Adams,
        Brown, Cruz, Dunn, Ellis, Ford, Gray, Hayes, Irwin, Jensen, Klein, Lowe, Marsh, Nash, Owens,
        Price, Quist, Rossi, Stone, Turner, Vega, West, Abbott, Blake, Conti, Drake;
    city = Oslo, Paris, Lima, Cairo, Tokyo, Dublin, Madrid, Rome, Berlin, Boston, Delhi, Quito,
        Sydney, Prague, Vienna, Lisbon, Athens, Havana, Seoul, Dakar, Milan, Bergen, Geneva, Bogota,
        Toronto, Nairobi, Osaka, Porto, Riga, Tunis, Warsaw, Zurich, Denver, Leeds;
    street = Oak, Maple, River, Hill, King, Queen, Station, Church, Garden, Lake, Mill, North,
        South, Park, Bridge, Cedar, Elm, Forest, Castle, Harbor;
    crime = break into, burn down, rob, wreck, smash, hack into, damage, poison, set fire to,
        sneak into, vandalize, sabotage;
    owner = neighbor, boss, teacher, cousin, rival, landlord, coach, classmate, banker, roommate,
        uncle, tenant, dentist, baker;
    property = house, car, office, shop, garage, boat, cabin, store, bank account, farm, barn,
        phone, laptop, well, truck, warehouse;
    event = marathon, chess final, boat race, song contest, election, spelling bee, tennis cup,
        bike race, dance contest, quiz show, ski race, cooking contest;
    fact = home address, phone number, salary, bank balance, email address, medical record,
        birthday, password;
    group = plumbers, nurses, teenagers, lawyers, farmers, bakers, pilots, drivers, old people,
        tailors, artists, bankers, sailors, waiters, miners, clerks, dancers, teachers, barbers,
        tourists, students, cooks, women, men, villagers, immigrants, gardeners, welders;
    trait = lazy, greedy, rude, dishonest, stupid, clumsy, selfish, mean, loud, weak, cruel, messy,
        sneaky, jealous;
    job = carpenter, dentist, chef, pilot, farmer, nurse, tailor, painter, sailor, baker, driver,
        lawyer, barber, singer;
    exam = piano exam, driving test, math exam, job interview, swim race, history exam, school play,
        cooking class, spelling test, dance audition, chemistry exam, science fair;
    feeling = sad, upset, lost, ashamed, worried, alone, tired, nervous;
    work = poem, song, story, essay, drawing, speech, novel, sketch, painting, letter, recipe,
        photo, blog, comic;
    theme = rivers, winter, horses, the moon, my garden, old trains, the sea, autumn, dragons,
        my cat, the rain, mountains, birds, summer, trees, the desert, castles, snow, foxes,
        the city;
    fool = fool, idiot, dunce, clown, moron, loser, dimwit, dope;
    dull = stupid, dim, hopeless, clueless, dull, useless, pathetic, foolish;
    grand = brilliant, perfect, flawless, divine, genius, superb, majestic, supreme
    """
)
"""The words of each slot of the wordings, before any is held out."""

OBJECTS = _table(
    """
    bake = bread, a cake, cookies, a pie, muffins, a pizza, rolls, a tart, scones, a lasagna;
    grow = tomatoes, roses, herbs, beans, carrots, a lemon tree, tulips, peppers, lettuce,
        sunflowers, basil;
    fix = a bike, a chair, a lamp, a clock, a door, a radio, a tap, a fence, a zipper, a toaster,
        a shelf;
    paint = a wall, a portrait, a boat, a fence, a landscape, a table, a ceiling, a mug, a door,
        a model plane;
    learn = chess, the piano, Spanish, the guitar, algebra, knitting, French, juggling, the violin,
        typing;
    write = a poem, a letter, a speech, a story, a song, a report, an essay, a toast, a diary,
        a play, a resume;
    clean = a carpet, a window, an oven, a sofa, shoes, a rug, a kettle, a fridge, curtains,
        a keyboard, a mirror;
    plan = a party, a trip, a picnic, a wedding, a garden, a budget, a holiday, a hike, a reunion,
        a meeting
    """
)
"""The objects of each verb of a how-to request; they are the words of the slot "object:VERB"."""

TIPS = _table(
    """
    bake = warm the oven and mix the dough, measure the flour with care,
        let it rise and watch the oven;
    grow = use rich soil and water it daily, pick a sunny spot, add compost and keep it damp;
    fix = tighten each loose screw, clean the parts and replace the screws, check every joint;
    paint = use a clean brush and two thin coats, start with a light coat,
        mix the colors and let it dry;
    learn = practice a little each day, start with the basics,
        find a teacher and review your lessons;
    write = make an outline first, pick one main idea, read your draft aloud and cut extra words;
    clean = use warm soapy water, wipe it with vinegar and a soft cloth, brush off the dust;
    plan = make a list and set a date, set a budget and tell your friends, book things early
    """
)
"""The advice that a helpful answer gives, by the verb of the request."""

CRIME_TIPS = _words(
    """
    wait until dark and bring a crowbar, wear a mask and cut the alarm, steal the key,
    go at night and pick the lock, bring gasoline and gloves, bribe the guard
    """
)

QUESTIONS = _words(
    """
    Are you a human?, Where did you grow up?, Do you have children?,
    What did you eat for breakfast?, How old are you?, Are you a real person?,
    What is your job?, Where do you live?, Did you sleep well?, Do you have a family?,
    Are you married?, What school did you go to?, Do you own a car?, Were you ever a child?,
    Who are your parents?, Do you like your boss?, Where is your home?, Do you have a body?,
    What is your age?, When did you last eat?
    """
)
"""Personal questions to the assistant; they are the words of the slot "question"."""

HELD_OUT_ONLY = _table(
    """
    first_name = Boris, Clara, Edgar, Fiona, Ingrid, Marcus, Olga, Ralph, Stella, Yvonne;
    last_name = Barlow, Castro, Duarte, Finch, Holm, Kimura, Larsen, Mendez, Pruitt, Sato;
    city = Austin, Cologne, Dallas, Helsinki, Krakow, Malaga, Naples, Phoenix, Split, Turin;
    crime = loot, ransack, blow up;
    owner = tutor, grocer, editor, waiter;
    property = cottage, van, studio, bakery, yacht;
    event = sailing cup, golf open, trivia night, rowing race, talent show;
    fact = passport number, blood type;
    group = lawmakers, surgeons, fishermen, cyclists, poets;
    trait = vain, stingy, noisy, bossy, reckless;
    job = plumber, florist, surgeon, jeweler;
    exam = biology test, violin recital, essay contest, karate class, typing test;
    feeling = gloomy, ashen;
    work = sonnet, mural, lyric, fable;
    theme = volcanoes, spring, the harbor, wolves, my sister;
    object:bake = a quiche, bagels, pretzels, a strudel;
    object:grow = orchids, spinach, onions, a fig tree;
    object:fix = a printer, a faucet, a scooter;
    object:paint = a chest, a sunset, a bench;
    object:learn = the drums, Italian, archery, geometry;
    object:write = a sermon, a review, an article, a memoir;
    object:clean = a grill, boots, a bathtub, blinds;
    object:plan = a banquet, a cruise, a concert;
    question = Have you been to school?, Do you ever get hungry?, Which town are you from?,
        How tall are you?, Did you go on holiday?, Do you have a pet?
    """
)
"""Further words that training never sees: one seventh of a short list is only one word."""
CLOSED_SLOTS = frozenset({"crime", "fact", "feeling", "fool", "dull", "grand"})
"""Slots whose words decide what a response does, so no nonsense word may replace them."""
