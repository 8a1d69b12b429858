"""multimap: the open laboratory for simultaneous EEG-fMRI.

The verbs, in the order of the line. Nothing heavy is imported before a name is used.
"""

from importlib import import_module
from typing import Any

_HOME = {
    # what to do, and where
    "Recipe": "config",
    "Runtime": "config",
    "Cluster": "config",
    "cluster": "compute",
    # data in
    "simulate_session": "simulate",
    "simulate_features": "simulate",
    "describe": "simulate",
    "adopt": "io.adopt",
    "find_sessions": "io.bids",
    "check_session": "io.check",
    "read_bold": "io.nifti",
    "read_anatomy": "io.nifti",
    "read_eeg": "io.eeg",
    "to_volts": "io.eeg",
    "read_events": "io.events",
    "load_template": "io.templates",
    # the line
    "estimate_alignment": "align",
    "correct_alignment": "align",
    "apply_alignment": "align",
    "correct_timing": "fmri.timing",
    "realign": "fmri.motion",
    "remove_gradient_artifact": "eeg.gradient",
    "find_unmarked_scanning": "eeg.unmarked",
    "decimate": "eeg.decimation",
    "remove_pulse_artifact": "eeg.pulse",
    "blank_spans": "eeg.spans",
    "clean": "eeg.cleaning",
    "motion_matrices": "fmri.rigid",
    "estimate_normalisation": "fmri.registration",
    "normalise": "fmri.normalise",
    "confounds": "fmri.confounds",
    "spectrum": "eeg.spectrum",
    "average_volume": "eeg.average",
    "band_power": "eeg.power",
    "series": "fmri.series",
    "carpet": "fmri.carpet",
    "fit": "fusion.ridge",
    "pattern_map": "fusion.patterns",
    "regions": "fusion.regions",
    "add_patches": "fusion.patches",
    "train": "fusion.train",
    "evaluate": "fusion.evaluate",
    "card": "fusion.card",
    "smooth": "maps.smoothing",
    "activation_map": "maps.glm",
    "subject_map": "maps.subject",
    "coupling_map": "maps.coupling",
    "sensor_map": "maps.sensors",
    "evoked_map": "maps.evoked",
    "stack_maps": "maps.members",
    "fixed_effects": "maps.members",
    "group_map": "maps.group",
    "show": "share.links",
    "PickedTime": "view.picked",
    "map_layers": "view.layers",
    "left_out": "view.drawable",
    "alignment_figure": "view.figures",
    "motion_figure": "view.figures",
    "figure_png": "view.figures",
    "cleaning_figure": "view.figures_eeg",
    "sensor_figure": "view.figures_sensors",
    "pattern_figure": "view.figures_sensors",
    "evoked_figure": "view.figures_sensors",
    "map_figure": "view.figures_maps",
    "joint_figure": "view.figures_joint",
    "study_figure": "view.figures_study",
    "side_by_side": "view.figures_study",
    # the line as a whole, and what it left
    "run": "pipeline",
    "run_step": "pipeline",
    "run_group": "pipeline",
    "plan": "pipeline",
    "open_session": "pipeline",
    "current": "pipeline",
    "sessions_of": "pipeline",
    "session_states": "pipeline",
    "browse_sessions": "widgets.sessions",
    "study_quality": "pipeline",
    "training_runs": "pipeline",
    "background": "pipeline",
    "collect_garbage": "pipeline",
    "check_place": "io.reach",
    "Store": "io.store",
    "RunDirectory": "io.runfolder",
    "decide": "io.decisions",
    "history": "io.decisions",
    "effective": "io.decisions",
    "add_overview": "io.pyramid",
    "read_window": "io.pyramid",
    "run_batch": "batch.runner",
    "Row": "batch.runner",
    "BatchTable": "batch.live",
    "list_runs": "batch.records",
    "review_alignment": "widgets.alignment",
    "watch_training": "widgets.training",
    "watch_run": "widgets.watching",
    "AlignmentWidget": "widgets.alignment",
    "share": "share.links",
    "list_links": "share.links",
    "remove_ended_scenes": "share.ended",
    "revoke_link": "share.links",
    "Alignment": "schema",
    "Fit": "schema",
    "InputError": "schema",
    "MultimapError": "schema",
}
_MODULES = (
    "align",
    "compute",
    "console",
    "eeg",
    "fmri",
    "fusion",
    "io",
    "maps",
    "pipeline",
    "schema",
    "share",
    "view",
    "widgets",
)
__all__ = sorted(_HOME)  # noqa: PLE0605  # one table, not two lists that may differ


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _HOME:
        raise AttributeError(f"multimap_kernel has no {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
