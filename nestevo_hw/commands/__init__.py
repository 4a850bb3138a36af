"""Click commands, one a file; bodies import what they need when they run."""
