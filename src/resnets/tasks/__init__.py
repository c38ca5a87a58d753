"""What a trained network is used for: to predict, and to find out how good its predictions are."""
