"""The ONNX graph of all-MiniLM-L6-v2, from its official weights: rows of token ids in, a unit vector a text out.

The graph is written with ONNX Runtime's fused operators (domain `com.microsoft`) instead of being exported from a
training framework: those operators are what its optimiser would fuse an export into, so nothing is left to optimise at
each start, and no framework is needed. Mean pooling over the attention mask and the L2 normalisation are part of it,
so one run gives what sentence-transformers gives.

A row may hold several texts, one after the other (batching.py says why). `text_ids` says which text each token belongs
to, from 1 on, and 0 for padding; the attention mask follows from it, so that a token attends to its own text only. The
weight that is left for the others is exp(-10000), which is exactly 0 as a float32.

A change here that changes the graph must raise `GRAPH_VERSION` in store.py, so that cached graphs are built anew.

The type embedding is always that of the first segment, so it is added to the position embedding here, once.

protobuf keeps the interpreter's lock for as long as a call takes: with 90 MB in one message, each of its copies held
the event loop up for up to half a second. So no message here holds the constants. They are written behind the graph's
message as protobuf would write them, each as a message that adds it: what is embedded and comes more than once is
merged, and what is repeated in it put together (protobuf.dev, "Encoding", "Last One Wins").
"""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, checker, helper

from actors.embedding.safetensors import Tensor, WeightsError
from actors.embedding.settings import Precision

LAYERS = 6
HEADS = 12
WIDTH = 384
INNER_WIDTH = 1_536
VOCABULARY = 30_522
POSITIONS = 512
INPUTS = ("input_ids", "position_ids", "text_ids")

_LAYER_NORM_EPSILON = 1e-12  # config.json of the model, `layer_norm_eps`
_NORM_MIN = 1e-12  # torch.nn.functional.normalize, `eps`
_OPSET = 17
_IR_VERSION = 8
_MICROSOFT = "com.microsoft"

Array = NDArray[np.float32]


class _Graph:
    """Nodes and constants, as they are added."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, NDArray[np.generic]] = {}
        self.types: list[ValueInfoProto] = []

    def weight(self, name: str, *shape: int) -> Array:
        """Return a tensor of the weights; raises WeightsError when it is absent or of another shape."""
        tensor = self._weights.get(name)
        if tensor is None:
            raise WeightsError(f"The weights have no tensor {name}: they are not those of all-MiniLM-L6-v2.")
        if tensor.shape != shape:
            raise WeightsError(f"The tensor {name} is of shape {tensor.shape} instead of {shape}.")
        return np.frombuffer(tensor.data, dtype="<f4").reshape(shape)

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """Add a constant and return its name."""
        self.constants[name] = value
        return name

    def declare_hidden(self, name: str) -> None:
        """Write down a layer's output type, which the standard's inference cannot see through fused operators."""
        self.types.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", "width", WIDTH]))

    def node(self, operator: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output and return that output's name."""
        self.nodes.append(helper.make_node(operator, inputs, [output], output, domain=domain, **attributes))
        return output


def build_graph(weights: Mapping[str, Tensor], precision: Precision) -> bytes:
    """Return the serialised graph: inputs `INPUTS` (int32, rows x width), output `embedding` (float32, texts x 384).

    Texts are numbered without a gap. Raises WeightsError when the weights are those of another model.
    """
    graph = _Graph(weights)
    hidden = _embeddings(graph)
    _mask(graph)
    for layer in range(LAYERS):
        hidden = _layer(graph, hidden, layer)
    graph.declare_hidden(hidden)
    _pool(graph, hidden)
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT32, ["rows", "width"]) for name in INPUTS]
    output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["texts", WIDTH])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "all-MiniLM-L6-v2", inputs, [output], value_info=graph.types),
        opset_imports=[helper.make_opsetid("", _OPSET), helper.make_opsetid(_MICROSOFT, 1)],
        ir_version=_IR_VERSION,
        producer_name="central-command",
    )
    _check(model, graph.constants)
    parts: list[bytes] = [model.SerializeToString(deterministic=True)]
    for name, value in graph.constants.items():
        parts += _added_constant(name, value)
    serialised = b"".join(parts)
    return serialised if precision is Precision.FLOAT32 else _quantised(serialised)


def _check(model: ModelProto, constants: Mapping[str, NDArray[np.generic]]) -> None:
    """Check the graph against the standard, with its constants as inputs."""
    checked = ModelProto()
    checked.CopyFrom(model)
    for name, value in constants.items():
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        checked.graph.input.append(helper.make_tensor_value_info(name, kind, value.shape))
    checker.check_model(checked)


def _added_constant(name: str, value: NDArray[np.generic]) -> list[bytes]:
    """Return a message, in parts, that adds a constant to the graph of the message before it.

    The parts are `bytes` because joining those lets go of the interpreter's lock.
    """
    kind = helper.np_dtype_to_tensor_dtype(value.dtype)
    data = value.astype(value.dtype.newbyteorder("<"), copy=False).tobytes()
    head = TensorProto(name=name, data_type=kind, dims=value.shape).SerializeToString(deterministic=True)
    head += _length_prefix(TensorProto.RAW_DATA_FIELD_NUMBER, len(data))
    within = _length_prefix(GraphProto.INITIALIZER_FIELD_NUMBER, len(head) + len(data))
    around = _length_prefix(ModelProto.GRAPH_FIELD_NUMBER, len(within) + len(head) + len(data))
    return [around + within + head, data]


def _length_prefix(field: int, length: int) -> bytes:
    """Return what protobuf writes before a field of so many bytes (protobuf.dev, "Encoding")."""
    prefix = bytearray([field << 3 | 2])
    while length > 0x7F:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    prefix.append(length)
    return bytes(prefix)


def _embeddings(graph: _Graph) -> str:
    words = graph.weight("embeddings.word_embeddings.weight", VOCABULARY, WIDTH)
    positions = graph.weight("embeddings.position_embeddings.weight", POSITIONS, WIDTH)
    types = graph.weight("embeddings.token_type_embeddings.weight", 2, WIDTH)
    inputs = [
        "input_ids",
        "",
        graph.constant("words", words),
        graph.constant("positions", positions + types[0]),
        "",
        *_norm(graph, "embeddings.LayerNorm", "embeddings"),
        "",
        "position_ids",
    ]
    graph.nodes.append(
        helper.make_node(
            "EmbedLayerNormalization",
            inputs,
            ["hidden", "unused_mask"],
            "embeddings",
            domain=_MICROSOFT,
            epsilon=_LAYER_NORM_EPSILON,
        )
    )
    return "hidden"


def _norm(graph: _Graph, source: str, name: str) -> list[str]:
    gamma = graph.constant(f"{name}.gamma", graph.weight(f"{source}.weight", WIDTH))
    return [gamma, graph.constant(f"{name}.beta", graph.weight(f"{source}.bias", WIDTH))]


def _layer(graph: _Graph, hidden: str, number: int) -> str:
    """Add one transformer layer; a torch linear layer holds its weights transposed."""
    source, name = f"encoder.layer.{number}", f"layer{number}"
    parts = [f"{source}.attention.self.{part}" for part in ("query", "key", "value")]
    weights = np.concatenate([graph.weight(f"{part}.weight", WIDTH, WIDTH).T for part in parts], axis=1)
    biases = np.concatenate([graph.weight(f"{part}.bias", WIDTH) for part in parts])
    attended = graph.node(
        "Attention",
        [hidden, graph.constant(f"{name}.qkv", weights), graph.constant(f"{name}.qkv_bias", biases), "attention_mask"],
        f"{name}.attention",
        _MICROSOFT,
        num_heads=HEADS,
    )
    hidden = _add_and_norm(graph, f"{source}.attention.output", f"{name}.projected", attended, hidden, WIDTH)
    inner = graph.weight(f"{source}.intermediate.dense.weight", INNER_WIDTH, WIDTH)
    inner_bias = graph.weight(f"{source}.intermediate.dense.bias", INNER_WIDTH)
    expanded = graph.node("MatMul", [hidden, graph.constant(f"{name}.inner", inner.T)], f"{name}.expanded")
    activated = graph.node(
        "BiasGelu", [expanded, graph.constant(f"{name}.inner_bias", inner_bias)], f"{name}.activated", _MICROSOFT
    )
    return _add_and_norm(graph, f"{source}.output", f"{name}.output", activated, hidden, INNER_WIDTH)


def _add_and_norm(graph: _Graph, source: str, name: str, value: str, skipped: str, width: int) -> str:
    """Project `value` back to the model's width, add bias and what was skipped, and normalise."""
    dense = graph.weight(f"{source}.dense.weight", WIDTH, width)
    bias = graph.weight(f"{source}.dense.bias", WIDTH)
    projected = graph.node("MatMul", [value, graph.constant(f"{name}.dense", dense.T)], f"{name}.matmul")
    return graph.node(
        "SkipLayerNormalization",
        [projected, skipped, *_norm(graph, f"{source}.LayerNorm", name), graph.constant(f"{name}.bias", bias)],
        name,
        _MICROSOFT,
        epsilon=_LAYER_NORM_EPSILON,
    )


def _mask(graph: _Graph) -> None:
    """Add the attention mask: for each row a square that is 1 where two tokens are of one text.

    Padding attends to padding, which nobody looks at.
    """
    column = graph.node("Unsqueeze", ["text_ids", graph.constant("axis_2", np.array([2], np.int64))], "text_column")
    row = graph.node("Unsqueeze", ["text_ids", graph.constant("axis_1", np.array([1], np.int64))], "text_row")
    same = graph.node("Equal", [column, row], "same_text")
    graph.node("Cast", [same], "attention_mask", to=TensorProto.INT32)


def _pool(graph: _Graph, hidden: str) -> None:
    """Add the mean over each text's tokens and the L2 normalisation.

    The mean's divisor is left out: the normalisation cancels it.
    """
    one = graph.constant("one", np.array(1, np.int32))
    flat = graph.node("Reshape", ["text_ids", graph.constant("flat_shape", np.array([1, -1], np.int64))], "flat_ids")
    last = graph.node("ReduceMax", ["text_ids"], "last_text", keepdims=0)
    end = graph.node("Add", [last, one], "texts_end")
    numbers = graph.node("Range", [one, end, one], "text_numbers")
    column = graph.node("Unsqueeze", [numbers, "axis_1"], "number_column")
    mask = graph.node("Cast", [graph.node("Equal", [column, flat], "is_of_text")], "text_mask", to=TensorProto.FLOAT)
    shape = graph.constant("tokens_shape", np.array([-1, WIDTH], np.int64))
    tokens = graph.node("Reshape", [hidden, shape], "tokens")
    pooled = graph.node("MatMul", [mask, tokens], "pooled")
    norm = graph.node("ReduceL2", [pooled], "norm", axes=[1], keepdims=1)
    divisor = graph.node("Max", [norm, graph.constant("norm_min", np.array(_NORM_MIN, np.float32))], "divisor")
    graph.node("Div", [pooled, divisor], "embedding")


def _quantised(serialised: bytes) -> bytes:
    """Return the graph with eight-bit weights, one scale a column; activations are quantised at each run.

    The look-up tables stay float32: they take no time, and an error in them goes through all layers.
    """
    from actors.embedding.onnx_runtime import quantiser  # noqa: PLC0415 - slow, and only needed here

    quantize_dynamic, eight_bits = quantiser()
    model = ModelProto()
    model.ParseFromString(serialised)
    # There is nothing to pre-process in this graph; without the mark the quantiser warns about it.
    helper.set_model_props(model, {"onnx.quant.pre_process": "onnxruntime.quant"})
    with TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantize_dynamic(
            model,
            path,
            op_types_to_quantize=["MatMul", "Attention"],
            per_channel=True,
            weight_type=eight_bits,
            extra_options={"DefaultTensorType": TensorProto.FLOAT},  # shapes stop at operators outside the standard
        )
        return path.read_bytes()
