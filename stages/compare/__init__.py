"""Compare: two or more runs or logs, of this tool or of others, side by side.

`__main__` is the command. `logs/` reads what a tool wrote, `pairing` matches the items and computes
the effects, `table` shows them in the terminal, and `page` writes them with the rows that changed.
"""
