"""What a result depends on, as digests: the configuration, the photo and its mask, the words, all weights.

Each row carries them, so that a resumed run recognizes what changed since and redoes it.
"""
