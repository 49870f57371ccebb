"""A theory of two values, one of them with two principles, and ratings of answers under them."""

from stages.runtime.rows import Rating

TWO = """name: two
principles:
  - {id: care-1, text: The answer is kind., opposite: The answer is cruel., dimension: care}
  - {id: care-2, text: The answer is warm., opposite: The answer is cold., dimension: care}
  - {id: power, text: The answer is strong., opposite: The answer is weak., dimension: power}
targets:
  calm: {care: 1.0, power: -1.0}
  bold: {care: -1.0, power: 1.0}
"""
IDS = ["care-1", "care-2", "power"]


def two_values(folder, text=TWO):
    (folder / "two.yaml").write_text(text)
    return {"name": str(folder / "two.yaml")}


def rated(name, scores, request="q", kind="k", response=None, principles=IDS):
    return Rating(
        id=f"{request}-{name}",
        response_id=f"{request}-{name}",
        prompt_id=request,
        kind=kind,
        prompt=[{"role": "user", "content": f"do {request}"}],
        response=response or f"answer {name}",
        score=0.0,
        principles=list(principles),
        negated=[False] * len(principles),
        scores=list(scores),
        model="m",
    )
