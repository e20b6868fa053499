"""Pure functions on pictures: find the white cells, their scale, the one crop, and its quality."""
