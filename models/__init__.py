"""How a model is made: data sets, architectures, training. The finished bundles are in `zoo/`.

Importing this package brings nothing else along: the device finds its bundles here without TensorFlow.
"""
