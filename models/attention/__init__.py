"""Attentions behind one signature, so that one q, k, v can be asked "what would you give with another attention?"."""
