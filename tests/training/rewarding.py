"""Rewards for tests, named in pipelines as `tests.training.rewarding:<name>`."""


def early_letters(prompt, response, row):
    """Dense and learnable by a random model: the share of its characters that are `a` to `m`."""
    letters = [c for c in response.lower() if c.isalpha()]
    return sum("a" <= c <= "m" for c in letters) / max(len(letters), 1)


def nan(prompt, response, row):
    return float("nan")


def constant(prompt, response, row):
    return 1.0


def long(prompt, response, row):
    return float(len(response) > 40)


def late_letters(prompt, response, row):
    return 1 - early_letters(prompt, response, row)


def silent(prompt, response, row):
    return None


def has_thoughts(prompt, response, row):
    """1 where a reward reads a mark or a word of the model's thoughts."""
    return float("think" in response or "hm" in response)


SCORES = {}
"""What `first` and `second` give, one after the other."""


def first(prompt, response, row):
    return SCORES["first"].pop(0)


def second(prompt, response, row):
    return SCORES["second"].pop(0)


def of_even_prompts(prompt, response, row):
    return None if int(row["id"][1:]) % 2 else len(response) / 10


SCORED = {"rising": 0, "falling": 0}
"""How many completions each of them has scored."""


def rising(prompt, response, row):
    """By 1 for each 8 completions, and a little by what a completion says."""
    SCORED["rising"] += 1
    return SCORED["rising"] // 8 + early_letters(prompt, response, row)


def falling(prompt, response, row):
    """By 1 for each 8 completions after the first 96."""
    SCORED["falling"] += 1
    return -max(0, SCORED["falling"] // 8 - 12) + late_letters(prompt, response, row)
