"""OpenFlamingo checkpoints as they are published: which there are, their files, how they load."""
