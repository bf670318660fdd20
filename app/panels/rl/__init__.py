"""Reinforcement learning that one watches: training curves beside the living agent."""
