//! Detects out-of-memory failures and reports them as [`TrainerError::OutOfDeviceMemory`].

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use burn::prelude::*;

use crate::{TrainerError, text};

/// Work for which a device had too little memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutOfMemory {
    /// The device.
    pub device: String,
    /// True where a backward pass was asked for too.
    pub training: bool,
    /// Shape of the input: images or, behind frozen stages, activations `[n, channels, height, width]`.
    pub input: [usize; 4],
    /// The network's name, where it is known.
    pub architecture: Option<String>,
    /// Bytes of the allocation that failed, where the device said so.
    pub bytes: Option<u64>,
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [images, channels, height, width] = self.input;
        let device = match self.device.as_str() {
            "" => "the device",
            device => device,
        };
        let network = self.architecture.as_deref().unwrap_or("the network");
        let work = if self.training {
            "training"
        } else {
            "a prediction by"
        };
        write!(f, "{device} has too little memory for {work} {network}")?;
        if images > 0 {
            write!(
                f,
                " with a batch of {images} x {channels} x {height} x {width}"
            )?;
        }
        if let Some(bytes) = self.bytes {
            write!(f, " (an allocation of {bytes} bytes failed)")?;
        }
        f.write_str("; take ")?;
        if images > 1 {
            write!(f, "a smaller batch (such as {}), ", images / 2)?;
        }
        if self.training {
            f.write_str(
                "a strategy that freezes more (`features` keeps nothing for a backward pass), ",
            )?;
        }
        f.write_str("smaller images, a smaller network, or the CPU device")
    }
}

/// Runs one step of training or one prediction on `input`. Where the device runs out of memory, by whatever road the
/// backend tells, the answer is [`TrainerError::OutOfDeviceMemory`]; every other panic goes on as it is.
pub(crate) fn contained<T>(
    training: bool,
    input: &Tensor<4>,
    work: impl FnOnce() -> Result<T, TrainerError>,
) -> Result<T, TrainerError> {
    let (device, input) = (input.device(), input.dims());
    let complete = |cause: OutOfMemory| OutOfMemory {
        device: text::device(&device),
        training,
        input,
        ..cause
    };
    match catch(work, complete) {
        Err(TrainerError::OutOfDeviceMemory { cause, .. }) => Err(to_error(complete(*cause))),
        result => result,
    }
}

/// Only panics become errors whose text says that memory ran out.
fn catch<T>(
    work: impl FnOnce() -> Result<T, TrainerError>,
    complete: impl Fn(OutOfMemory) -> OutOfMemory,
) -> Result<T, TrainerError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        match text_of(&*panic).and_then(recognise) {
            Some(cause) => Err(to_error(complete(cause))),
            None => resume_unwind(panic),
        }
    })
}

/// A whole run, for what is read outside of its steps: weights to keep, gradients to clip.
pub(crate) fn contained_run<T>(
    work: impl FnOnce() -> Result<T, TrainerError>,
) -> Result<T, TrainerError> {
    catch(work, |cause| OutOfMemory {
        training: true,
        ..cause
    })
}

/// Returns a tensor's values.
///
/// # Errors
///
/// [`TrainerError::OutOfDeviceMemory`] and [`TrainerError::Device`]: a device works ahead, so what went wrong before is
/// told at the next reading.
pub(crate) fn host<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, TrainerError> {
    let data = tensor.try_into_data();
    Ok(data.map_err(device_error)?.iter::<f32>().collect())
}

/// Returns the value of a scalar, as [`host`].
pub(crate) fn scalar(tensor: Tensor<1>) -> Result<f64, TrainerError> {
    let values = host(tensor)?;
    Ok(values.first().map_or(f64::NAN, |value| f64::from(*value)))
}

impl TrainerError {
    /// Names the network that a device had too little memory for.
    pub(crate) fn with_architecture(mut self, name: &str) -> Self {
        if let Self::OutOfDeviceMemory { cause, .. } = &mut self
            && !name.is_empty()
        {
            cause.architecture = Some(name.to_string());
        }
        self
    }
}

fn device_error(error: impl fmt::Display) -> TrainerError {
    let reason = error.to_string();
    match recognise(&reason) {
        Some(cause) => to_error(cause),
        None => TrainerError::Device { reason },
    }
}

fn to_error(cause: OutOfMemory) -> TrainerError {
    TrainerError::OutOfDeviceMemory {
        cause: Box::new(cause),
        kept: String::new(),
    }
}

fn text_of(panic: &(dyn Any + Send)) -> Option<&str> {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied())
}

/// Error messages of backends that run out of memory, up to the number of bytes where one follows.
///
/// CubeCL words a failed allocation the same on CUDA, HIP, Vulkan and Metal and hands it to whoever reads what depends on
/// it. wgpu panics instead, on the thread of the device, where that panic is caught and printed: what arrives here is that
/// the memory was never given, which nothing else leads to (sizes over the adapter's limits don't come as far as wgpu).
const OOM_PATTERNS: [(&str, Bytes); 8] = [
    // cubecl-runtime, IoError::OutOfMemory, IoError::BufferTooBig and LaunchError::OutOfMemory.
    ("out of device memory allocating ", Bytes::Follow),
    ("can't allocate buffer of size: ", Bytes::Follow),
    (
        "An out-of-memory error happened during launch",
        Bytes::Unknown,
    ),
    // cubecl-server, for wgpu as above; cubecl-wgpu, where the thread that asked waits for the answer.
    ("Memory location was never initialized", Bytes::Unknown),
    ("wgpu error: Out of Memory", Bytes::Unknown),
    // wgpu-hal's reason for a device that was lost to it, and wgpu-core's words.
    ("Unknown: Out of memory", Bytes::Unknown),
    ("Not enough memory left.", Bytes::Unknown),
    // cudarc, where the driver's answer comes through as it is.
    ("CUDA_ERROR_OUT_OF_MEMORY", Bytes::Unknown),
];

/// Tells whether a message ends in the size of the allocation; a message that should and doesn't is a different error.
#[derive(Clone, Copy, PartialEq)]
enum Bytes {
    Follow,
    Unknown,
}

fn recognise(message: &str) -> Option<OutOfMemory> {
    OOM_PATTERNS.iter().find_map(|(saying, bytes)| {
        let (_, rest) = message.split_once(saying)?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let found = rest[..digits].parse().ok();
        (*bytes == Bytes::Unknown || found.is_some()).then(|| OutOfMemory {
            bytes: found.filter(|_| *bytes == Bytes::Follow),
            ..OutOfMemory::default()
        })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn bytes_in(message: &str) -> Option<Option<u64>> {
        recognise(message).map(|cause| cause.bytes)
    }

    /// Messages as printed by the versions in Cargo.lock: the first three by runs on Vulkan, the others put
    /// together from their sources, for want of the hardware.
    #[test]
    fn what_backends_say_is_recognised() {
        let unwritten = |root: &str| {
            format!(
                "An error happened during execution\nCaused by:\n  Several failures at once\nCaused by:\n  The bytes were \
                 never written (failure #1, still claiming 2 buffer(s))\n  skipped `KernelScalarBinop`: it needed memory \
                 ManagedMemoryId {{ value: 0 }}, which carried the failure\nCaused by:\n  {root}\nNo backtrace \
                 available\nAsked at:\nNo backtrace available"
            )
        };
        let said = [
            (
                unwritten("An IO error happened\nCaused by:\n  can't allocate buffer of size: 4000000000"),
                Some(4_000_000_000),
            ),
            (
                unwritten(
                    "An IO error happened\nCaused by:\n  couldn't find resource for that handle: Memory location was \
                     never initialized",
                ),
                None,
            ),
            ("wgpu error: Out of Memory".into(), None),
            (
                unwritten("An IO error happened\nCaused by:\n  out of device memory allocating 8589934592 bytes"),
                Some(8_589_934_592),
            ),
            (
                unwritten(
                    "A launch error happened\nCaused by:\n  An out-of-memory error happened during launch\nCaused by:\n  \
                     out of memory launching kernel 7",
                ),
                None,
            ),
            (
                "The device is poisoned\nCaused by:\n  The device is poisoned\nCaused by:\n  Unknown: Out of memory"
                    .into(),
                None,
            ),
            (
                unwritten(
                    "An IO error happened\nCaused by:\n  Unknown error happened during execution: CUDA allocation error: \
                     DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")",
                ),
                None,
            ),
        ];
        for (message, bytes) in said {
            assert_eq!(bytes_in(&message), Some(bytes), "{message}");
        }
    }

    #[test]
    fn what_is_said_of_anything_else_is_not() {
        let others = [
            "",
            "can't allocate buffer of size: unknown",
            "The device is poisoned\nCaused by:\n  Unknown: Device is lost",
            "wgpu error: Validation Error",
            "An error happened during execution\nCaused by:\n  CUDA_ERROR_ILLEGAL_ADDRESS",
            "index out of bounds: the len is 3 but the index is 3",
            "=== Tensor Operation Error === the shapes don't fit",
        ];
        for message in others {
            assert_eq!(recognise(message), None, "{message}");
        }
    }

    #[test]
    fn only_panics_for_want_of_memory_become_errors() {
        let input = Tensor::<4>::zeros([8, 3, 16, 16], &Device::flex());
        let error = contained(true, &input, || -> Result<(), _> {
            std::panic::panic_any("wgpu error: Out of Memory".to_string())
        })
        .unwrap_err()
        .with_architecture("resnet18");
        let text = error.to_string();
        for part in [
            "training resnet18",
            "8 x 3 x 16 x 16",
            "batch (such as 4)",
            "CPU",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let other =
            catch_unwind(|| contained(true, &input, || -> Result<(), _> { panic!("a bug") }));
        assert_eq!(text_of(&*other.unwrap_err()), Some("a bug"));
    }

    #[test]
    fn an_error_from_inside_learns_what_went_in() {
        let input = Tensor::<4>::zeros([1, 3, 16, 16], &Device::flex());
        let error = contained(false, &input, || -> Result<(), _> {
            Err(device_error("out of device memory allocating 77 bytes"))
        });
        let text = error.unwrap_err().to_string();
        for part in ["a prediction by the network", "1 x 3 x 16 x 16", "77 bytes"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("smaller batch"), "{text}");
    }
}
