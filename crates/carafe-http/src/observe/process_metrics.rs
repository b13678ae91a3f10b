//! Metrics of the process by the usual names of Prometheus.

use std::fmt;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use rustix::process::{Resource, getrlimit};

use crate::observe::hub_metrics::write;

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
        if let Some(most) = getrlimit(Resource::Nofile).current {
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            write(
                &mut encoder,
                "process_max_fds",
                "Maximum number of open file descriptors",
                &ConstGauge::new(most),
            )?;
        }
        Ok(())
    }
}

/// The number of open descriptors; `None` if the system does not show it.
fn open_descriptors() -> Option<i64> {
    let all = fs::read_dir("/proc/self/fd").ok()?.count();
    // Reading the directory opens one, too.
    i64::try_from(all - 1).ok()
}
