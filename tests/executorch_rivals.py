"""The plans that ExecuTorch itself makes of back-propagation, by its whole lowering."""

import torch
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from dfedge.bench.frozen import frozen
from dfedge.bench.rival import FloatLoss, example, latents
from dfedge.exporters.order import write_back_early
from dfedge.plan import Plan
from dfedge.profile import rivals
from dfedge.quiet import quiet


class InPlace(torch.nn.Module):
    """``(x, y) -> loss``: a step whose weights are buffers."""

    def __init__(self, plan: Plan, batch: int, stretches: int) -> None:
        super().__init__()
        self.frozen, stretched = frozen(plan), rivals.Stretches(plan, stretches)
        weights = {n: v.detach().clone() for n, v in stretched.net.named_parameters()}
        self.names = {name: name.replace(".", "_") for name in weights}
        for name, value in weights.items():
            self.register_buffer(self.names[name], value)

        def step(*given):
            return stretched.step(*given)  # a function: make_fx counts a method's self

        self.traced = make_fx(step, tracing_mode="fake")(weights, *latents(plan, batch))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        weights = {name: self.get_buffer(own) for name, own in self.names.items()}
        new, loss = self.traced(weights, self.frozen(x), y)
        for name, own in self.names.items():
            self.get_buffer(own).copy_(new[name])
        return loss


def in_place(plan: Plan, batch: int, stretches: int) -> tuple[int, GraphModule]:
    """ExecuTorch's own arena, and the graph that it was planned for."""
    with quiet():
        step = InPlace(plan, batch, stretches)
        exported = torch.export.export(step, example(plan, batch), strict=False)
        return lowered(exported.run_decompositions())


def joint(plan: Plan, batch: int) -> tuple[int, GraphModule]:
    """The same of the training extension's graph."""
    from torch.export.experimental import _export_forward_backward

    with quiet():
        exported = torch.export.export(FloatLoss(plan), example(plan, batch), strict=True)
        return lowered(_export_forward_backward(exported))


def lowered(program: torch.export.ExportedProgram) -> tuple[int, GraphModule]:
    from executorch.exir import ExecutorchBackendConfig, to_edge
    from executorch.exir.passes import MemoryPlanningPass

    class EarlyWriteBack(MemoryPlanningPass):
        def run(self, module, signature=None):
            write_back_early(module)
            return super().run(module, signature)

    config = ExecutorchBackendConfig(
        memory_planning_pass=EarlyWriteBack(share_mutable_buffers=True)
    )
    manager = to_edge(program).to_executorch(config)
    arena = manager.executorch_program.execution_plan[0].non_const_buffer_sizes[1]
    return arena, manager.exported_program("forward").graph_module
