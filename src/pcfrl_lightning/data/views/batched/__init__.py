"""Pure functions on whole batches of images, with parameters of their own for each image.

Images are float32 (N, H, C, W) in [0, 1], rows before channels: a filter along rows or columns is then one batched
matrix product on memory as it lies.  Nothing here draws a number, waits for the device or has a result whose shape
depends on values, so `torch.compile` makes one program of it.
"""
