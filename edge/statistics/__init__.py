"""Answers and labels → figures, with their limits."""
