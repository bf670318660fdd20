"""Portraits of agents: one painter per environment, each over a pure function that says where its parts stand."""
