"""A bundle for another site, from a few labelled cells of it: no training, no TensorFlow."""
