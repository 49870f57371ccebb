"""Ablations: one command runs variants of a principle set and says what each principle did."""
