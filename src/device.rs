//! The device by name, at run time.

use std::str::FromStr;

use burn::tensor::Device;

/// A device that was asked for by name: `cpu`, `wgpu`, `cuda`, `cuda:1` or `ndarray`.
///
/// ```
/// use rekindle::device::DeviceName;
///
/// # #[cfg(feature = "flex")] {
/// let name: DeviceName = "cpu".parse()?;
/// let device = name.open()?;
/// # }
/// # Ok::<(), rekindle::device::DeviceError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceName {
    /// Burn's pure-Rust CPU backend (flex) and the kernels of `rekindle-kernels`.
    #[default]
    Cpu,
    /// The best graphics adapter that wgpu finds (Vulkan, Metal, DirectX 12).
    Wgpu,
    /// An NVIDIA GPU by its number.
    Cuda(usize),
    /// Burn's older CPU backend.
    NdArray,
}

/// A device that can't be had.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceError {
    /// A name that is none of the known ones.
    #[error("there is no device {found:?}; known are cpu, wgpu, cuda, cuda:N and ndarray")]
    UnknownDevice {
        /// The name given.
        found: String,
    },
    /// A backend that this program was built without.
    #[error(
        "device {device:?} is not compiled in; build with `--features {feature}` (cargo feature {feature:?} of rekindle)"
    )]
    DeviceNotCompiled {
        /// The device's name.
        device: &'static str,
        /// The cargo feature that brings it.
        feature: &'static str,
    },
}

impl FromStr for DeviceName {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::UnknownDevice {
            found: name.to_string(),
        };
        match name {
            "cpu" | "flex" => Ok(DeviceName::Cpu),
            "wgpu" => Ok(DeviceName::Wgpu),
            "cuda" => Ok(DeviceName::Cuda(0)),
            "ndarray" => Ok(DeviceName::NdArray),
            _ => {
                let number = name.strip_prefix("cuda:").ok_or_else(unknown)?;
                Ok(DeviceName::Cuda(number.parse().map_err(|_| unknown())?))
            }
        }
    }
}

impl std::fmt::Display for DeviceName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DeviceName::Cpu => formatter.write_str("cpu"),
            DeviceName::Wgpu => formatter.write_str("wgpu"),
            DeviceName::Cuda(0) => formatter.write_str("cuda"),
            DeviceName::Cuda(number) => write!(formatter, "cuda:{number}"),
            DeviceName::NdArray => formatter.write_str("ndarray"),
        }
    }
}

impl DeviceName {
    /// Opens the device, without autodiff.
    ///
    /// # Errors
    ///
    /// [`DeviceError::DeviceNotCompiled`] names the cargo feature that is missing.
    pub fn open(self) -> Result<Device, DeviceError> {
        match self {
            #[cfg(feature = "flex")]
            DeviceName::Cpu => Ok(Device::flex()),
            #[cfg(feature = "wgpu")]
            DeviceName::Wgpu => Ok(Device::wgpu(burn::tensor::DeviceKind::default())),
            #[cfg(feature = "cuda")]
            DeviceName::Cuda(number) => Ok(Device::cuda(number)),
            #[cfg(feature = "ndarray")]
            // Kept while Burn has it: a second implementation to compare with.
            #[allow(deprecated)]
            DeviceName::NdArray => Ok(Device::ndarray()),
            #[allow(unreachable_patterns)] // Reached by whatever backend is not compiled in.
            other => Err(other.not_compiled()),
        }
    }

    fn not_compiled(self) -> DeviceError {
        let (device, feature) = match self {
            DeviceName::Cpu => ("cpu", "flex"),
            DeviceName::Wgpu => ("wgpu", "wgpu"),
            DeviceName::Cuda(_) => ("cuda", "cuda"),
            DeviceName::NdArray => ("ndarray", "ndarray"),
        };
        DeviceError::DeviceNotCompiled { device, feature }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_as_they_went_in() {
        for name in ["cpu", "wgpu", "cuda", "cuda:3", "ndarray"] {
            assert_eq!(
                name.parse::<DeviceName>().map(|d| d.to_string()),
                Ok(name.into())
            );
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        for name in ["tpu", "cuda:", "cuda:x"] {
            let message = name.parse::<DeviceName>().map_err(|e| e.to_string());
            assert!(message.is_err_and(|m| m.contains(name) && m.contains("wgpu")));
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_device_that_is_not_compiled_in_names_its_feature() {
        let message = DeviceName::Cuda(0).open().map_err(|e| e.to_string());
        assert!(message.is_err_and(|m| m.contains("--features cuda")));
    }
}
