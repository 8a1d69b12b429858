"""EEG recorded inside the scanner: artifacts out, band power in."""
