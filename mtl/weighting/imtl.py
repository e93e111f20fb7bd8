"""IMTL, both halves: learnt scales of the losses, then equal projections on the gradients of the scaled losses."""

from __future__ import annotations

from collections.abc import Sequence

from torchjd.scalarization import IMTLL

from mtl.tasks import Task
from mtl.weighting.impartial import IMTLG
from mtl.weighting.torchjd import Scalarizer


class IMTL(IMTLG):
    """Liu et al., "Towards Impartial Multi-task Learning", ICLR 2021, algorithm 1: IMTL-L for losses and heads, IMTL-G.

    IMTL-G looks at the gradients of the losses times e^s of IMTL-L; heads get the gradients of their scaled losses.
    The same as `weighting=imtl_g weighting@prescale=imtl_l`, under the name that the paper gives it.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        super().__init__(tasks)
        self.prescale = Scalarizer(tasks, IMTLL)
