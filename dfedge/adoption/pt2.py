"""A file .pt2 of a stranger -> a program, and no code of the file runs.

`torch.export.load` unpickles sample inputs, weights and objects, loads compiled libraries, and
evaluates parts of the JSON.  So torch never sees the file: what it holds is read here, checked
against `dfedge.adoption.pt2_schema`, and an archive of the checked parts alone is written anew, in
memory, for torch to open.  Tensors are taken as their bytes; sample inputs, compiled code and
everything else that a translation does not need are left out.
"""

import io
import re
import zipfile
from pathlib import Path

import msgspec
import torch
from msgspec.structs import replace
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.export.pt2_archive import PT2ArchiveWriter
from torch.export.pt2_archive._package import load_pt2

from dfedge.adoption import pt2_schema as schema
from dfedge.adoption.activations import find
from dfedge.adoption.refusal import Site, line_of, refusal
from dfedge.errors import DfedgeError, foreign
from dfedge.quiet import quiet

MAX_BYTES = 1 << 29
"""Of a file."""
MODEL = "models/model.json"
ROOMS = ("data/weights/", "data/constants/")
CONFIGS = tuple(f"{room}model_{room.split('/')[1]}_config.json" for room in ROOMS)
SAMPLE = "data/sample_inputs/model.pt"
SAVE_AGAIN = "save it with torch.export.save"
ITEM_BYTES = (0, 1, 1, 2, 4, 8, 2, 4, 8, 4, 8, 16, 1, 2)
"""Of torch's scalar types, by their numbers in the schema."""
WORDS = ("mode", "padding", "padding_mode", "approximate", "rounding_mode")
"""Arguments that are text: none of them names a file."""
ARITHMETIC = tuple(f"_operator.{name}" for name in ("getitem", "add", "sub", "mul", "floordiv"))
"""Of sizes, and the choice of one result."""
PLAIN = (
    "Tensor", "Optional[Tensor]", "List[Tensor]", "List[Optional[Tensor]]", "int", "List[int]",
    "Optional[int]", "Optional[List[int]]", "float", "Optional[float]", "List[float]",
    "Optional[List[float]]", "bool", "Optional[bool]", "List[bool]", "number", "Optional[number]",
    "Device", "Optional[Device]",
)  # fmt: skip
"""Types of what an operation may take."""
RETURNED = ("Tensor", "List[Tensor]", "int")
PRIVATE = (
    "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "_assert_tensor_metadata", "_to_copy",
    "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "_unsafe_view",
    "_weight_norm", "_weight_norm_interface", "_softmax", "_log_softmax",
)  # fmt: skip
"""Operations that a plain net comes to hold though their names begin with a low line."""
KEPT_METADATA = ("stack_trace", "nn_module_stack")

Members = dict[str, bytes]


def load(path: Path) -> ExportedProgram:
    """Read a file of `torch.export.save`.

    Raises:
        DfedgeError: another file, one that needs unpickling, or one that says what no plain net
            says: which part, and what to do.
    """
    with foreign(path, "a torch.export file", SAVE_AGAIN):
        members = _members(path)
        program = _program(members, path)
        written = {MODEL: msgspec.json.encode(program), SAMPLE: b""}
        for room, config in zip(ROOMS, CONFIGS, strict=True):
            written |= _tensors(members, room, config, path)
        with quiet():
            return load_pt2(_packed(written)).exported_programs["model"]


def _members(path: Path) -> Members:
    """Every member that counts, by its path below the archive's own folder."""
    if path.stat().st_size > MAX_BYTES:
        raise DfedgeError(f"{path}: {path.stat().st_size:,} bytes; allowed: {MAX_BYTES:,}")
    found: Members = {}
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.filename == "serialized_exported_program.json" for entry in entries):
            raise DfedgeError(
                f"{path}: written by torch before 2.8, which pickles; load it where you trust it, "
                "and save it again with torch.export.save of torch 2.8 or later"
            )
        for entry in entries:
            name = entry.filename.partition("/")[2]
            if name != MODEL and not name.startswith(ROOMS):
                continue
            # Stored bytes are no more than the file's: nothing grows while it is read.
            if entry.compress_type != zipfile.ZIP_STORED or name in found:
                raise DfedgeError(
                    f"{path}: its member {name} is compressed or there twice; {SAVE_AGAIN}"
                )
            found[name] = archive.read(entry)
    for name in (MODEL, *CONFIGS):
        if name not in found:
            raise DfedgeError(f"{path}: it holds no {name}; {SAVE_AGAIN} of torch 2.8 or later")
    return found


def _program(members: Members, path: Path) -> schema.Program:
    """The program, checked; names of files, guards and marks of the exporter are left out."""
    try:
        found = msgspec.json.decode(members[MODEL], type=schema.Program)
        calls = [_call(module) for module in found.graph_module.module_call_graph]
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise DfedgeError(
            f"{path}: its {MODEL} is not that of a plain net ({error}); {SAVE_AGAIN}, with one "
            "image size, on the processor"
        ) from error
    nodes = [_node(node) for node in found.graph_module.graph.nodes]
    graph = replace(found.graph_module.graph, nodes=nodes)
    module = replace(found.graph_module, graph=graph, module_call_graph=calls, metadata={})
    return replace(found, graph_module=module, guards_code=[])


def _call(module: schema.Module) -> schema.Module:
    call = module.signature
    if call is None:
        return module
    trees = {"in_spec": schema.tree(call.in_spec), "out_spec": schema.tree(call.out_spec)}
    return replace(module, signature=replace(call, **trees))


def _node(node: schema.Node) -> schema.Node:
    """An operation on tensors; what else torch would resolve and call is refused.

    Raises:
        DfedgeError: naming it and its line.
    """
    if node.target not in ARITHMETIC and not _plain(node.target):
        what = node.target.removeprefix("torch.ops.aten.")
        line = line_of(node.metadata.get("stack_trace", ""))
        raise refusal(Site(what, node.name or what, line=line))
    metadata = {key: node.metadata[key] for key in KEPT_METADATA if key in node.metadata}
    return replace(node, metadata=metadata)


def _plain(target: str) -> bool:
    found = re.fullmatch(r"torch\.ops\.(\w+)\.(\w+)\.(\w+)", target)
    if found is None:
        return False
    library, name, overload = found.groups()
    if library != "aten" and find(f"{library}.{name}") is None:
        return False
    if name.startswith("_") and name not in PRIVATE:
        return False
    operation = getattr(getattr(getattr(torch.ops, library), name, None), overload, None)
    if not isinstance(operation, OpOverload):
        return False
    taken = operation._schema.arguments
    texts = [one for one in taken if str(one.type) in ("str", "Optional[str]")]
    others = [one for one in taken if one not in texts]
    return (
        all(one.name in WORDS for one in texts)
        and all(str(one.type) in PLAIN for one in others)
        and all(str(one.type) in RETURNED for one in operation._schema.returns)
    )


def _tensors(members: Members, room: str, config: str, path: Path) -> Members:
    """A room's configuration and the bytes that it names.

    Raises:
        DfedgeError: pickled ones, or fewer bytes than a tensor's shape says.
    """
    try:
        payloads = msgspec.json.decode(members[config], type=schema.Payloads)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise DfedgeError(f"{path}: its {config} cannot be read ({error}); {SAVE_AGAIN}") from error
    found = {config: msgspec.json.encode(payloads)}
    for name, payload in payloads.config.items():
        if payload.use_pickle or payload.tensor_meta is None:
            raise DfedgeError(
                f"{path}: its '{name}' is pickled, and unpickling runs code; save a net of plain "
                "tensors with torch.export.save"
            )
        held = members.get(room + payload.path_name)
        needs = _bytes(payload.tensor_meta)
        if held is None or needs is None or needs > len(held):
            raise DfedgeError(
                f"{path}: its {payload.path_name} holds {len(held or b''):,} bytes, and '{name}' "
                f"needs {needs if needs is not None else 'a size of numbers'}; {SAVE_AGAIN}"
            )
        found[room + payload.path_name] = held
    return found


def _bytes(meta: schema.TensorMeta) -> int | None:
    """Of a tensor whose values all lie in its own bytes; None where its shape is open."""
    count = ITEM_BYTES[meta.dtype]
    for size in meta.sizes:
        if not isinstance(size.as_int, int):
            return None
        count *= size.as_int
    return count


def _packed(members: Members) -> io.BytesIO:
    out = io.BytesIO()
    with PT2ArchiveWriter(out) as writer:
        for name, content in members.items():
            writer.write_bytes(name, content)
    out.seek(0)
    return out
