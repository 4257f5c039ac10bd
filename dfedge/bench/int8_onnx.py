"""A yardstick: the plan's net as onnxruntime quantises it, int8 inference that learns nothing."""

from pathlib import Path
from typing import Any

from dfedge.bench.rival import example, write_onnx
from dfedge.plan import Plan
from dfedge.quiet import quiet


def write(plan: Plan, batch: int, path: Path) -> None:
    """The float net of `dfedge.bench.rival` with quantised operators, weights by channel.

    Scales are of one random batch: only times are compared.
    """
    with quiet():
        from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

        exact = path.with_suffix(".float.onnx")
        write_onnx(plan, batch, exact, learns=False)
        batches = iter([{"x": example(plan, batch)[0].numpy()}])

        class Reader(CalibrationDataReader):  # type: ignore[misc]
            def get_next(self) -> Any:
                return next(batches, None)

        quantize_static(exact, path, Reader(), per_channel=True,
                        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)  # fmt: skip
