"""Archives of `torch.export` that would run code in whoever opens them as torch does."""

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

Members = dict[str, bytes]
"""Path inside the archive's folder -> content."""
MODEL = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
SAMPLE = "data/sample_inputs/model.pt"


class Payload:
    """Makes a folder where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@cache
def ordinary() -> bytes:
    """As torch.export.save writes it."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
                        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)).eval()  # fmt: skip
    out = io.BytesIO()
    torch.export.save(torch.export.export(net, (torch.zeros(1, 1, 8, 8),)), out)
    return out.getvalue()


def members(archive: bytes) -> Members:
    """What an archive holds."""
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        return {name.split("/", 1)[1]: file.read(name) for name in file.namelist()}


def packed(found: Members, root: str = "archive") -> bytes:
    """An archive of these members."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, content in found.items():
            file.writestr(f"{root}/{name}", content)
    return out.getvalue()


def saved(value: object) -> bytes:
    """As torch.save writes it."""
    out = io.BytesIO()
    torch.save(value, out)
    return out.getvalue()


def edited(found: Members, name: str, edit: Callable[[Any], None]) -> Members:
    """With one JSON member edited in place."""
    tree = json.loads(found[name])
    edit(tree)
    return found | {name: json.dumps(tree).encode()}


def _node(target: str, arg: dict[str, Any]) -> dict[str, Any]:
    return {
        "target": target,
        "inputs": [{"name": "", "arg": arg, "kind": 1}],
        "outputs": [{"as_none": True}],
        "metadata": {},
        "is_hop_single_tensor_return": None,
        "name": "called",
    }


def _first_node(found: Members, node: dict[str, Any]) -> Members:
    def edit(tree: Any) -> None:
        tree["graph_module"]["graph"]["nodes"].insert(0, node)

    return edited(found, MODEL, edit)


def _sample_inputs(found: Members, mark: Path) -> Members:
    return found | {SAMPLE: saved(((Payload(mark),), {}))}


def _weight(found: Members, mark: Path) -> Members:
    def edit(tree: Any) -> None:
        next(iter(tree["config"].values()))["use_pickle"] = True

    return edited(found, WEIGHTS, edit) | {"data/weights/weight_0": saved(Payload(mark))}


def _opaque(found: Members, mark: Path) -> Members:
    def edit(tree: Any) -> None:
        entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True}
        tree["config"]["x"] = entry | {"tensor_meta": None}

    added = {"data/constants/opaque_obj_0": pickle.dumps(Payload(mark))}
    return edited(found, CONSTANTS, edit) | added


def _old_weights(found: Members, mark: Path) -> Members:
    return found | {"data/weights/model.pt": saved(Payload(mark))}


def _old_constants(found: Members, mark: Path) -> Members:
    return found | {"data/constants/model.pt": saved(Payload(mark))}


def _called(found: Members, mark: Path) -> Members:
    """run_decompositions runs the graph: whatever torch can reach is called."""
    return _first_node(found, _node("torch.os.mkdir", {"as_string": str(mark)}))


def _expression(found: Members, mark: Path) -> Members:
    """Sympy evaluates a symbolic size as Python."""

    def edit(tree: Any) -> None:
        first = next(iter(tree["graph_module"]["graph"]["tensor_values"].values()))
        code = f"__import__('os').mkdir({str(mark)!r})"
        first["sizes"][0] = {"as_expr": {"expr_str": code, "hint": {"as_int": 2}}}

    return edited(found, MODEL, edit)


def _name(found: Members, mark: Path) -> Members:
    """A node's name becomes a part of the Python that torch makes of the graph."""
    code = f"x=__import__('os').mkdir({str(mark)!r})"

    def renamed(raw: bytes) -> bytes:
        return raw.replace(b'"input"', json.dumps(code).encode())

    return found | {MODEL: renamed(found[MODEL])}


def _imported(found: Members, mark: Path) -> Members:
    """The context of a tree is imported: any module, the current folder's too."""
    (mark.parent / "planted.py").write_text(f"import os\nos.mkdir({str(mark)!r})\n")
    context = json.dumps([{"__enum__": True, "fqn": "planted:X", "name": "Y"}])

    def edit(tree: Any) -> None:
        signature = tree["graph_module"]["module_call_graph"][0]["signature"]
        version, spec = json.loads(signature["in_spec"])
        spec["context"] = context
        signature["in_spec"] = json.dumps([version, spec])

    return edited(found, MODEL, edit)


HOSTILE: dict[str, Callable[[Members, Path], Members]] = {
    "sample inputs": _sample_inputs,
    "pickled weight": _weight,
    "opaque object": _opaque,
    "old weights": _old_weights,
    "old constants": _old_constants,
    "function": _called,
    "expression": _expression,
    "name": _name,
    "import": _imported,
}
"""Way in -> (members of an ordinary archive, folder that it would make) -> members."""


def before_2_8(mark: Path) -> bytes:
    """The layout of torch up to 2.7: four files, three of them pickles."""
    model = members(ordinary())[MODEL]
    files = {"version": b"8.5", "serialized_exported_program.json": model}
    for name in ("state_dict", "constants", "example_inputs"):
        files[f"serialized_{name}.pt"] = saved(Payload(mark))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return out.getvalue()
