//! The metrics of the process, by the names that Prometheus' own clients give them.

use super::exposition::Exposition;
use procfs::process::{LimitValue, Process};
use procfs::{ProcResult, WithCurrentSystemInfo};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;

/// Reads `/proc/self` at each scrape. What cannot be read is left out.
#[derive(Debug)]
pub(super) struct ProcessCollector;

/// What Linux tells of this process.
struct Usage {
    cpu_seconds: f64,
    start_time_seconds: f64,
    resident_bytes: u64,
    virtual_bytes: u64,
    open_fds: u64,
    max_fds: u64,
}

impl Usage {
    fn now() -> ProcResult<Self> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
        Ok(Self {
            cpu_seconds: seconds(stat.utime + stat.stime),
            start_time_seconds: procfs::boot_time_secs()? as f64 + seconds(stat.starttime),
            resident_bytes: stat.rss_bytes().get(),
            virtual_bytes: stat.vsize,
            open_fds: process.fd_count()? as u64,
            max_fds: match process.limits()?.max_open_files.soft_limit {
                LimitValue::Value(limit) => limit,
                LimitValue::Unlimited => u64::MAX,
            },
        })
    }
}

impl Collector for ProcessCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Ok(usage) = Usage::now() else {
            return Ok(());
        };
        let mut exposition = Exposition::new(encoder);
        exposition.counter(
            "process_cpu_seconds",
            "Time on a CPU, of the user and of the system",
            usage.cpu_seconds,
        )?;
        exposition.gauge(
            "process_start_time_seconds",
            "When the process started, in seconds since 1970",
            usage.start_time_seconds,
        )?;
        exposition.gauge(
            "process_resident_memory_bytes",
            "Resident memory",
            usage.resident_bytes,
        )?;
        exposition.gauge(
            "process_virtual_memory_bytes",
            "Virtual memory",
            usage.virtual_bytes,
        )?;
        exposition.gauge(
            "process_open_fds",
            "File descriptors that are open",
            usage.open_fds,
        )?;
        exposition.gauge(
            "process_max_fds",
            "The most file descriptors that may be open",
            usage.max_fds,
        )
    }
}
