//! Reads this process's memory from the system.

use std::fs;

/// Reads a line of `/proc/self/status` in bytes: `VmHWM`, the most memory that the process ever held, or `VmPeak`, the most
/// addresses; none on systems without that file.
pub fn memory(line: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let mut lines = status.lines().filter_map(|found| found.split_once(':'));
    let (_, value) = lines.find(|(name, _)| *name == line)?;
    let kilobytes = value.split_whitespace().next()?.parse::<u64>().ok()?;
    Some(kilobytes * 1024)
}
