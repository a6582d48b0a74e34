//! What a process takes, as Linux tells it under `/proc`.

use std::fs;
use std::time::Duration;

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Resident now, with the pages of the program itself and of its libraries.
    pub resident: usize,
    /// Resident now, of its own: stacks and heap.
    pub anonymous: usize,
    /// The most that was resident at a time.
    pub peak: usize,
}

impl Memory {
    /// Of process `pid`.
    ///
    /// # Panics
    /// If there is no such process, or no `/proc`.
    pub fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kibibytes = line.and_then(|line| line.trim().strip_suffix("kB"));
            let kibibytes = kibibytes.and_then(|number| number.trim().parse::<usize>().ok());
            kibibytes.expect("Linux tells it in KiB") << 10
        };
        Self {
            resident: bytes("VmRSS:"),
            anonymous: bytes("RssAnon:"),
            peak: bytes("VmHWM:"),
        }
    }
}

/// Time on a CPU of all threads that process `pid` has now, since they started.
///
/// # Panics
/// If there is no such process, or no `/proc`.
pub fn cpu(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let nanos = threads.map(|thread| {
        // To the nanosecond, where /proc/PID/stat counts ticks of 10 ms.
        let path = thread.expect("readable").path().join("schedstat");
        // A thread that has ended meanwhile has no file any more.
        let schedstat = fs::read_to_string(path).unwrap_or_default();
        let nanos = schedstat.split_whitespace().next();
        nanos.map_or(0, |nanos| nanos.parse().expect("a number"))
    });
    Duration::from_nanos(nanos.sum())
}
