"""Benchmarks: kuik beside other programs that do the same, in one run on one machine, told as ratios."""
