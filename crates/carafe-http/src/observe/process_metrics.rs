//! Metrics of the process by the usual names of Prometheus.

use std::fmt;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::observe::hub_metrics::{signed, write};

/// Registers the metrics. The time of this call stands for the start of the process.
pub(crate) fn register(registry: &mut Registry) {
    let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    registry.register_collector(Box::new(OfProcess { start }));
}

#[derive(Debug)]
struct OfProcess {
    start: f64,
}

impl Collector for OfProcess {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let help = "Start time of the process since unix epoch in seconds";
        write(&mut encoder, "process_start_time_seconds", help, &ConstGauge::new(self.start))?;
        if let Some(open) = open_descriptors() {
            write(
                &mut encoder,
                "process_open_fds",
                "Number of open file descriptors",
                &ConstGauge::new(open),
            )?;
        }
        if let Some(most) = most_descriptors() {
            write(
                &mut encoder,
                "process_max_fds",
                "Maximum number of open file descriptors",
                &ConstGauge::new(signed(most)),
            )?;
        }
        self.encode_usage(&mut encoder)
    }
}

impl OfProcess {
    fn encode_usage(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(usage) = Usage::now() else { return Ok(()) };
        let help = "Resident memory size in bytes";
        let resident = ConstGauge::new(signed(usage.resident));
        write(encoder, "process_resident_memory_bytes", help, &resident)?;
        let help = "Virtual memory size in bytes";
        let mapped = ConstGauge::new(signed(usage.mapped));
        write(encoder, "process_virtual_memory_bytes", help, &mapped)?;
        let help = "Total user and system CPU time spent in seconds";
        write(encoder, "process_cpu_seconds", help, &ConstCounter::new(usage.cpu_seconds))
    }
}

/// The memory and the processor time of the process.
struct Usage {
    resident: u64,
    mapped: u64,
    cpu_seconds: f64,
}

impl Usage {
    #[cfg(target_os = "linux")]
    fn now() -> Option<Self> {
        use rustix::param::{clock_ticks_per_second, page_size};
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        Self::of(&stat, page_size() as u64, clock_ticks_per_second())
    }

    /// Only Linux has the file.
    #[cfg(not(target_os = "linux"))]
    fn now() -> Option<Self> {
        None
    }

    /// Reads the fields of proc_pid_stat(5).
    #[cfg(any(test, target_os = "linux"))]
    fn of(stat: &str, page: u64, ticks_per_second: u64) -> Option<Self> {
        // The name of the program may contain spaces and parentheses. The field after it is the
        // third.
        let (_, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<_> = fields.split(' ').collect();
        let field = |number: usize| fields.get(number - 3)?.trim().parse::<u64>().ok();
        let ticks = field(14)? + field(15)?;
        Some(Self {
            resident: field(24)? * page,
            mapped: field(23)?,
            cpu_seconds: ticks as f64 / ticks_per_second as f64,
        })
    }
}

/// The limit on open descriptors; `None` if there is none.
#[cfg(unix)]
fn most_descriptors() -> Option<u64> {
    use rustix::process::{Resource, getrlimit};
    getrlimit(Resource::Nofile).current
}

#[cfg(not(unix))]
fn most_descriptors() -> Option<u64> {
    None
}

/// The number of open descriptors; `None` if the system does not show it.
fn open_descriptors() -> Option<i64> {
    let all = fs::read_dir("/proc/self/fd").ok()?.count();
    // Reading the directory opens one, too.
    i64::try_from(all - 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_time_are_read_from_behind_the_name_of_the_program() {
        let stat =
            "7 (a) (b c) S 1 7 7 0 -1 4194304 9 0 0 0 150 50 0 0 20 0 5 0 99 4096 3 18446744";
        let usage = Usage::of(stat, 4096, 100).unwrap();
        assert_eq!((usage.resident, usage.mapped), (3 * 4096, 4096));
        assert!((usage.cpu_seconds - 2.0).abs() < f64::EPSILON);
        assert!(Usage::of("7 (a) S 1", 4096, 100).is_none());
    }
}
