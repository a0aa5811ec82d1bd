"""The verbs: training, evaluation, prediction. They take built objects, never a command line."""
