"""What may stand in the JSON of an archive .pt2: torch's own schema, less all that runs code.

torch makes Python source of names, evaluates symbolic sizes, imports the modules that a tree's
context names and resolves every operation with ``getattr``.  So names are identifiers, sizes are
short sums of known words, and trees are tuples, lists and dicts; `dfedge.adoption.pt2` checks the
operations.  What is missing here (graphs in arguments, objects, operators as values) is refused as
unknown.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

Name = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z", max_length=255)]
"""Of a value: it becomes a variable of generated Python."""
Path = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]*\Z", max_length=1000)]
"""Of a parameter, a buffer or a module."""
Whole = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
Size = Annotated[int, Meta(ge=0, le=(1 << 31) - 1)]
Number = float | Literal["Infinity", "-Infinity", "NaN"]
Expression = Annotated[
    str,
    Meta(
        max_length=200,
        pattern=r"^(?!.*\*\s*\*)("
        r"Symbol\('[a-z]+[0-9]+'(, (positive|integer|nonnegative)=True)*\)"
        r"|FloorDiv|Mod|PythonMod|CleanDiv|CeilDiv|Max|Min|Add|Mul|Integer"
        r"|[0-9]{1,12}|[-+*(), ])+\Z",
    ),
]
"""Of a size that is open: it is evaluated, so every word in it is known."""


class Part(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One object of the JSON."""


class Hint(Part):
    """What an open size was."""

    as_int: Size


class Expr(Part):
    """An open size."""

    expr_str: Expression
    hint: Hint | None = None


class SymInt(Part):
    """A size: a number, or open."""

    as_int: Size | UnsetType = UNSET
    as_expr: Expr | UnsetType = UNSET


class Device(Part):
    """Where a tensor was: only the processor's memory."""

    type: Literal["cpu"]
    index: Literal[0] | None = None


class TensorMeta(Part):
    """Type and shape of a tensor."""

    dtype: Annotated[int, Meta(ge=1, le=13)]
    sizes: Annotated[list[SymInt], Meta(max_length=8)]
    requires_grad: bool
    device: Device
    strides: Annotated[list[SymInt], Meta(max_length=8)]
    storage_offset: SymInt
    layout: Literal[7]


class Tensor(Part):
    """A value, by name."""

    name: Name


class Optional(Part):
    """A value or none."""

    as_tensor: Tensor | UnsetType = UNSET
    as_none: bool | UnsetType = UNSET


class SymIntArgument(Part):
    """A number, or the name of one."""

    as_name: Name | UnsetType = UNSET
    as_int: Whole | UnsetType = UNSET


class Argument(Part):
    """One operand: exactly one field is there."""

    as_none: bool | UnsetType = UNSET
    as_tensor: Tensor | UnsetType = UNSET
    as_tensors: list[Tensor] | UnsetType = UNSET
    as_int: Whole | UnsetType = UNSET
    as_ints: list[Whole] | UnsetType = UNSET
    as_float: Number | UnsetType = UNSET
    as_floats: list[Number] | UnsetType = UNSET
    as_string: Path | UnsetType = UNSET
    as_sym_int: SymIntArgument | UnsetType = UNSET
    as_sym_ints: list[SymIntArgument] | UnsetType = UNSET
    as_scalar_type: int | UnsetType = UNSET
    as_memory_format: int | UnsetType = UNSET
    as_layout: int | UnsetType = UNSET
    as_device: Device | UnsetType = UNSET
    as_bool: bool | UnsetType = UNSET
    as_bools: list[bool] | UnsetType = UNSET
    as_optional_tensor: Optional | UnsetType = UNSET
    as_optional_tensors: list[Optional] | UnsetType = UNSET


class NamedArgument(Part):
    """An operand with the name that the operation gives it."""

    name: Annotated[str, Meta(pattern=r"^\w*\Z", max_length=255)]
    arg: Argument
    kind: Literal[0, 1, 2] | None = None


class Node(Part):
    """One operation."""

    target: str
    inputs: list[NamedArgument]
    outputs: list[Argument]
    metadata: dict[str, str]
    is_hop_single_tensor_return: bool | None = None
    name: Name | None = None


class Graph(Part):
    """The operations in their order."""

    inputs: list[Argument]
    outputs: list[Argument]
    nodes: list[Node]
    tensor_values: dict[Name, TensorMeta]
    sym_int_values: dict[Name, SymInt]
    sym_bool_values: Annotated[dict[Name, Any], Meta(max_length=0)]
    is_single_tensor_return: bool = False
    custom_obj_values: Annotated[dict[Name, Any], Meta(max_length=0)] = {}
    sym_float_values: Annotated[dict[Name, Any], Meta(max_length=0)] = {}


class UserInput(Part):
    """What the net is given, or what it gives."""

    arg: Argument


class Parameter(Part):
    """A trained tensor."""

    arg: Tensor
    parameter_name: Path


class Buffer(Part):
    """A tensor that is not trained."""

    arg: Tensor
    buffer_name: Path
    persistent: bool


class BufferMutation(Part):
    """A buffer that the net changes."""

    arg: Tensor
    buffer_name: Path


class TensorConstant(Part):
    """A tensor of the program."""

    arg: Tensor
    tensor_constant_name: Path


class Input(Part):
    """What one input is."""

    user_input: UserInput | UnsetType = UNSET
    parameter: Parameter | UnsetType = UNSET
    buffer: Buffer | UnsetType = UNSET
    tensor_constant: TensorConstant | UnsetType = UNSET


class Output(Part):
    """What one output is."""

    user_output: UserInput | UnsetType = UNSET
    buffer_mutation: BufferMutation | UnsetType = UNSET


class Signature(Part):
    """What goes in and comes out."""

    input_specs: list[Input]
    output_specs: list[Output]


class Tree(Part):
    """How arguments nest; ``context`` is JSON of its own, the keys of a dict."""

    type: Literal["builtins.tuple", "builtins.list", "builtins.dict"] | None
    context: str | None
    children_spec: list["Tree"]


class Call(Part):
    """How the net is called; both trees are JSON of their own."""

    inputs: list[Argument]
    outputs: list[Argument]
    in_spec: str
    out_spec: str
    forward_arg_names: list[Name] | None = None


class Module(Part):
    """A module of the net."""

    fqn: Path
    signature: Call | None = None


class GraphModule(Part):
    """The graph and how it is called."""

    graph: Graph
    signature: Signature
    module_call_graph: list[Module]
    metadata: dict[str, str] = {}
    treespec_namedtuple_fields: Annotated[dict[str, Any], Meta(max_length=0)] = {}


class Range(Part):
    """Of an open size."""

    min_val: Whole | None
    max_val: Whole | None


class SchemaVersion(Part):
    """Of torch's schema."""

    major: int
    minor: int


class Program(Part):
    """models/model.json."""

    graph_module: GraphModule
    opset_version: dict[Annotated[str, Meta(pattern=r"^\w+\Z")], Size]
    range_constraints: dict[Name, Range]
    schema_version: SchemaVersion
    verifiers: list[Literal["TRAINING", "ATEN"]] = []
    torch_version: str = "<=2.4"
    guards_code: list[str] = []


class Payload(Part):
    """Where a tensor's bytes lie; pickled ones are refused."""

    path_name: Annotated[str, Meta(pattern=r"^\w+\Z", max_length=255)]
    is_param: bool
    use_pickle: bool
    tensor_meta: TensorMeta | None


class Payloads(Part):
    """Name of a tensor -> where it lies."""

    config: dict[Path, Payload]


def tree(text: str) -> str:
    """The JSON of a `Tree`, read and written anew.

    Raises:
        msgspec.ValidationError, msgspec.DecodeError: anything else than tuples, lists and dicts.
    """
    version, root = msgspec.json.decode(text, type=tuple[int, Tree])
    _check_contexts(root)
    return msgspec.json.encode((version, msgspec.to_builtins(root))).decode()


def _check_contexts(node: Tree) -> None:
    wanted: Any = list[Name] if node.type == "builtins.dict" else None
    if node.context is not None:
        msgspec.json.decode(node.context, type=wanted)
    for child in node.children_spec:
        _check_contexts(child)
