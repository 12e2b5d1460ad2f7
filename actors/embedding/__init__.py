"""Sentence embeddings: where the model comes from, its ONNX graph, and the nursery that batches texts through it."""
