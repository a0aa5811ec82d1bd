"""What a prediction is to a user: boxes, labels, paths, and every question that can be asked of them afterwards."""
