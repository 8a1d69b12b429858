"""BOLD: timing, motion, normalisation, confounds, series."""
