"""The methods based on Faster R-CNN, one file each; other architectures have folders beside `faster_rcnn`."""
