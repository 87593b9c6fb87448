"""From released videos to a pack of small frames, in a way that may be killed and started again at any moment.

`sources` finds the clips, `decode` takes frames of a video, `encode` makes of a clip what is stored, `pool` does so in
several processes, `run` writes the parts in order, `estimate` says beforehand how long it takes and how large it gets.
"""

from pcfrl_lightning.data.prepare.encode import Encoder
from pcfrl_lightning.data.prepare.estimate import estimate
from pcfrl_lightning.data.prepare.run import Plan, merge, prepare

__all__ = ["Encoder", "Plan", "estimate", "merge", "prepare"]
