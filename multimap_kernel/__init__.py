"""multimap: the open laboratory for simultaneous EEG-fMRI."""
