"""Weights and images without a file: the formula of tests/support/src/formula.rs, to the last bit."""
import math

import numpy

IMAGES = 1 << 20
GAIN = 6


def uniform(tensor, count):
    """Values in [-1, 1), multiples of 2^-23."""
    x = numpy.arange(count, dtype=numpy.uint32) * numpy.uint32(0x9E3779B9)
    x += numpy.uint32((tensor + 1) * 0x85EBCA6B % 2**32)
    x ^= x >> 16
    x *= numpy.uint32(0x7FEB352D)
    x ^= x >> 15
    x *= numpy.uint32(0x846CA68B)
    x ^= x >> 16
    return (x >> 8).astype(numpy.float64) / (1 << 23) - 1


def parameter(number, name, shape):
    """The tensor of a ResNet's state dict that has this number among its floats."""
    u = uniform(number, int(numpy.prod(shape)))
    if name.endswith("running_var"):
        values = 1 + 0.5 * u
    elif len(shape) == 1 and name.endswith("weight"):
        values = 0.5 + 0.2 * u
    elif len(shape) == 1:
        values = 0.1 * u
    else:
        values = u * numpy.sqrt(6 / (numpy.prod(shape) / shape[0]))
    return values.astype(numpy.float32).reshape(shape)


def images(count, height, width):
    noise = uniform(IMAGES, count * 3 * height * width).reshape(count, 3, height, width)
    levels = uniform(IMAGES + 1, count * 3).reshape(count, 3, 1, 1)
    return (noise + levels).astype(numpy.float32)


def splitmix(tensor, count):
    """Values in [-1, 1): SplitMix64 of number and index."""
    with numpy.errstate(over="ignore"):
        z = numpy.arange(1, count + 1, dtype=numpy.uint64) + numpy.uint64(tensor << 32)
        z *= numpy.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> 30)) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> 27)) * numpy.uint64(0x94D049BB133111EB)
        z ^= z >> 31
    return (z >> 11).astype(numpy.float64) * 2.0**-52 - 1


def fill(network):
    """Weights by the formula; tensors are numbered as in the state dict, counters of batches included, which keep
    their values as all single numbers do."""
    import torch

    with torch.no_grad():
        for number, (name, tensor) in enumerate(network.state_dict().items()):
            if not tensor.is_floating_point() or tensor.dim() == 0:
                continue
            s = torch.from_numpy(splitmix(number, tensor.numel())).reshape(tensor.shape)
            if name.endswith("running_var"):
                s = 1 + 0.5 * s * s
            elif name.endswith("running_mean") or tensor.dim() == 1 and name.endswith("bias"):
                s = 0.1 * s
            elif tensor.dim() == 1:
                s = 1 + 0.1 * s
            else:
                s = s * math.sqrt(GAIN / tensor[0].numel())
            tensor.copy_(s)
    return network
