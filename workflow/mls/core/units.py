"""Unit conversions, so that no bare power stands in the code."""

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
NS_PER_US = 1_000
MS_PER_S = 1_000
S_PER_HOUR = 3_600

MIB = 2**20
