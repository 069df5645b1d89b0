"""Objectives: who plays whom, and how each player moves."""
