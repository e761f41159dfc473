"""The detectors: the contract, Faster R-CNN, the methods, their layers and what makes them fast."""
