"""The parts that detectors are put together from: preprocessing, backbone, RPN, RoI head, the base class."""
