"""Read and write weights: megavid's files, the original release's checkpoints, pretrained backbones."""
