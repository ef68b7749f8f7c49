//! CPU convolution and friends for ResNets.
