"""Pictures, reports and the interactive viewer."""
