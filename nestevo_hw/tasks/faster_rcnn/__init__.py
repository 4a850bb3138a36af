"""How Faster R-CNN labels and learns: the insides of the task `detection`."""
