"""How much memory a stage of training takes, told before anything is loaded: `estimate_stage`. Loads no torch.

Closed formulas: `shapes`, `terms`, `estimate`. Two updates of the real trainer: `rehearsal`.
"""

from trainers.memory.devices import Memory, memory_of
from trainers.memory.longest import Longest, guessed, longest_of
from trainers.memory.report import Report, estimate_stage

__all__ = ["Longest", "Memory", "Report", "estimate_stage", "guessed", "longest_of", "memory_of"]
