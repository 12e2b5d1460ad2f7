"""Sentence embeddings: where the model comes from, its ONNX graph, and the nursery that batches texts through it. What
a request may ask for is HTTP's matter, what embeddings are used for their users'.
"""
