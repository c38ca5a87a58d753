"""Weights of rare and of frequent classes in a loss, from the numbers of their pixels."""

import numpy as np

ENET_OFFSET = 1.02  # Paszke et al. 2016, ENet, section 5


def class_weights(kind: str, counts: np.ndarray) -> np.ndarray:
    """float64 (K,): the weight of each class; 1 for a class without a pixel.

    Args:
        kind: "median_frequency" is median frequency balancing (Eigen and Fergus 2015), where the frequency of a class is its
            part of the pixels of the images that have it; "sqrt_median_frequency" is the root of that; "enet" is
            1 / log(1.02 + part of all pixels).
        counts: int64 (N, K), the pixels of each class in each training image.
    """
    present, weights = counts.any(axis=0), np.ones(counts.shape[1])
    totals = counts.sum(axis=0)[present]
    if kind == "enet":
        weights[present] = 1 / np.log(ENET_OFFSET + totals / counts.sum())
        return weights
    in_images = np.where(counts > 0, counts.sum(axis=1, keepdims=True), 0).sum(axis=0)[present]
    frequencies = totals / in_images
    weights[present] = np.median(frequencies) / frequencies
    return np.sqrt(weights) if kind == "sqrt_median_frequency" else weights
