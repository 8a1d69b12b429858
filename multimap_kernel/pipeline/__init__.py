"""The line: its steps, their keys, and the walk over sessions."""

from multimap_kernel.pipeline.garbage import collect_garbage
from multimap_kernel.pipeline.group import GROUP, run_group
from multimap_kernel.pipeline.keys import Inputs, Step, key_of
from multimap_kernel.pipeline.opened import open_maps
from multimap_kernel.pipeline.publish import background
from multimap_kernel.pipeline.quality import study_quality
from multimap_kernel.pipeline.results import current, open_session, sessions_of
from multimap_kernel.pipeline.run import SessionResult, StepResult, line, plan, run, run_step
from multimap_kernel.pipeline.states import Attempt, SessionStates, session_states
from multimap_kernel.pipeline.steps import STEPS
from multimap_kernel.pipeline.training import training_runs

__all__ = [
    "GROUP",
    "STEPS",
    "Attempt",
    "Inputs",
    "SessionResult",
    "SessionStates",
    "Step",
    "StepResult",
    "background",
    "collect_garbage",
    "current",
    "key_of",
    "line",
    "open_maps",
    "open_session",
    "plan",
    "run",
    "run_group",
    "run_step",
    "session_states",
    "sessions_of",
    "study_quality",
    "training_runs",
]
