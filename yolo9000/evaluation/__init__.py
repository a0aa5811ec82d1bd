"""How good a model is: average precision, top-1, reliability, and what is told about them."""
