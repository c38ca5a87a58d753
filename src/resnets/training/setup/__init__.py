"""From a recipe to the objects of a run: the split dataset, the initial weights, the network, and `TrainContext`."""
