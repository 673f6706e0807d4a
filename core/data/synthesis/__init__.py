"""Data made by a teacher model or a program, verified row by row; see `making.synthesize`."""
