"""Checks of the machines: clocks, cards, and what else ran."""
