"""A trained Keras model → a quantised bundle, verified against its original on real images."""
