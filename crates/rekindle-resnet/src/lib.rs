//! torchvision's ten ResNets for Burn, with weights in and out.
