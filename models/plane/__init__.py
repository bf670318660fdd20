"""The plane lab's ground: clouds of points, exact mixtures, one small network, measures, and the table of methods that share them."""
