"""The methods on Faster R-CNN, a file each; another architecture is a folder beside `faster_rcnn`."""
