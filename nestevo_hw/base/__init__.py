"""What every room stands on: errors, files, documents, journals, tensors, statistics, seeds."""
