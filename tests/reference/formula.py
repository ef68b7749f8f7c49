"""Weights and images without a file: the formula of tests/support/src/formula.rs, to the last bit."""
import numpy

IMAGES = 1 << 20


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
