"""dfedge: Distance-Forward learning that goes on, in integers, on the device.

What a program of one's own imports is here; everything else is dfedge's own and may change:

    train, adopt, calibrate, export   on the host, with their options (they need torch)
    Run                               what training and adopting write
    Bundle, Session, Care             what export writes; open for learning; what watches over that
    finetune, evaluate                a session over labelled data
    load                              labelled data by name or path, as the commands take it
    DfedgeError, UsageError           what all of them raise

A name is imported when it is first asked for: a device that opens a session imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dfedge.adoption.adopt import AdoptOptions as AdoptOptions
    from dfedge.adoption.adopt import adopt as adopt
    from dfedge.bundle import Bundle as Bundle
    from dfedge.data.sources import load as load
    from dfedge.device.care import Care as Care
    from dfedge.device.evaluate import evaluate as evaluate
    from dfedge.device.finetune import finetune as finetune
    from dfedge.device.session import Session as Session
    from dfedge.errors import DfedgeError as DfedgeError
    from dfedge.errors import UsageError as UsageError
    from dfedge.exporters.options import ExportOptions as ExportOptions
    from dfedge.exporters.write import export as export
    from dfedge.learn.run import Run as Run
    from dfedge.learn.train import TrainOptions as TrainOptions
    from dfedge.learn.train import calibrate_run as calibrate  # noqa: F401
    from dfedge.learn.train import train as train

__version__ = "0.2.0"

_HOMES = {
    "AdoptOptions": "adoption.adopt",
    "Bundle": "bundle",
    "Care": "device.care",
    "DfedgeError": "errors",
    "ExportOptions": "exporters.options",
    "Run": "learn.run",
    "Session": "device.session",
    "TrainOptions": "learn.train",
    "UsageError": "errors",
    "adopt": "adoption.adopt",
    "calibrate": "learn.train:calibrate_run",
    "evaluate": "device.evaluate",
    "export": "exporters.write",
    "finetune": "device.finetune",
    "load": "data.sources",
    "train": "learn.train",
}
"""Name -> its module, and what it is called there where that differs."""
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dfedge' has no attribute '{name}'")
    module, _, own = _HOMES[name].partition(":")
    found = getattr(import_module(f"dfedge.{module}"), own or name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
