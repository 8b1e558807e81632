"""Unit conversions, so that no bare power stands in the code."""

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
NS_PER_US = 1_000

MIB = 2**20
