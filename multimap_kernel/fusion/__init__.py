"""Joint models of EEG and BOLD; the ridge is the reference of them all."""
