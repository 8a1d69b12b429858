"""What people work with in a notebook: widgets that call verbs, show Datasets and record decisions."""
