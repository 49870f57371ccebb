"""Chat: a trained policy beside its base model, with the principles as judge of each answer.

`__main__` is the command. `setup` says who speaks and who judges, from a run or a model; `session`
asks them; `display` shows the answers and the chance that each principle is kept.
"""
