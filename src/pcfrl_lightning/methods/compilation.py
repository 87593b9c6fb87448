"""``torch.compile`` for parts of a network, which run without it where the compiler fails."""

from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import nn

from pcfrl_lightning.errors import one_line


def compile_training(part: nn.Module) -> None:
    """Compile the calls of a module in training mode, in place; parameters keep their names.

    In evaluation mode, where batches have many sizes, it runs as it was. A call that fails is repeated without the
    compiler: if that works, a warning gives the reason and the module goes on without; if not, its error is raised.
    """
    part.compile(dynamic=False)
    compiled: Any = part._compiled_call_impl
    plain: Any = part._call_impl

    def call(*arguments: Any, **named: Any) -> Any:
        if not part.training:
            return plain(*arguments, **named)
        try:
            return compiled(*arguments, **named)
        except Exception as error:
            outputs = plain(*arguments, **named)
            part._compiled_call_impl = None
            rank_zero_warn(
                f"torch.compile of {type(part).__name__} failed, it runs without: {one_line(error)} "
                "(--model.compile_network false does not try it)"
            )
            return outputs

    part._compiled_call_impl = call
