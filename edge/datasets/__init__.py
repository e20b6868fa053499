"""Labelled pictures in whichever layout, and one table of what laboratories call the cells."""
