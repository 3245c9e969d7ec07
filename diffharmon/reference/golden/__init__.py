"""Comparison with golden arrays: the proof that ``experiment=reference_quirks`` is the public reference code.

Golden cases are folders with ``case.json`` and one ``iterNN.npz`` for each harmonization iteration.
"""
