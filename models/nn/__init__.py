"""Leaf layers shared by several families: attention, feed-forward nets, embeddings. Nothing here knows a model."""
