"""Read COCO and CocoVID annotations, and write CocoVID annotations."""
