"""Decoding: plain sampling and every kind of speculative decoding, each a generator of rounds, for any net that keeps `LanguageNet`."""
