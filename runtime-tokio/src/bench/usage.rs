//! What a process has used, as Linux tells it under `/proc`. Elsewhere nothing is known.

use std::fs;
use std::io;
use std::time::Duration;

/// What a process has used since it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Usage {
    /// Time on a CPU, of all threads that it has now.
    pub(super) cpu: Duration,
    /// The most memory that it has had resident, in bytes.
    pub(super) peak_bytes: u64,
}

/// What process `pid` has used; none if that cannot be read.
pub(super) fn of_process(pid: u32) -> Option<Usage> {
    let of_thread = |thread: io::Result<fs::DirEntry>| {
        // To the nanosecond, where /proc/PID/stat counts ticks of 10 ms.
        let path = thread.ok()?.path().join("schedstat");
        // A thread may have ended since it was listed.
        cpu_nanos(&fs::read_to_string(path).ok()?)
    };
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let nanos = threads.filter_map(of_thread).reduce(|a, b| a + b)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(Usage {
        cpu: Duration::from_nanos(nanos),
        peak_bytes: peak_bytes(&status)?,
    })
}

/// From `schedstat`: time on a CPU, time waiting for one, number of time slices.
fn cpu_nanos(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().next()?.parse().ok()
}

/// From `status`: the "high water mark" of resident memory.
fn peak_bytes(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_writes_is_read() {
        assert_eq!(cpu_nanos("2871934 70105 12\n"), Some(2_871_934));
        assert_eq!(cpu_nanos(""), None);
        let status = "Name:\tcat\nVmPeak:\t    9000 kB\nVmHWM:\t    1536 kB\nThreads:\t1\n";
        assert_eq!(peak_bytes(status), Some(1536 * 1024));
        assert_eq!(peak_bytes("Name:\tcat\n"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_used_something() {
        let usage = of_process(std::process::id()).expect("readable");
        assert!(usage.peak_bytes > 0);
    }
}
