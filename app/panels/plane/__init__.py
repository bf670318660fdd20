"""The plane lab: ten ways from noise to data in two dimensions, one stage each, one timeline for all."""
