"""The public reference code (github.com/WindVChen/Diff-Harmonization), reproduced number by number.

The classes here extend the method's own by what that code does otherwise, each deviation one option that is off by
default; ``experiment=reference_quirks`` switches all of them on. `quirks` is their table, `golden` compares the result
with recorded arrays.
"""
