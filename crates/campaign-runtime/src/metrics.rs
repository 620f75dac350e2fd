//! `/metrics` in Prometheus's text format: what the services count, and what the process costs.
//!
//! One recorder per process, shared by every service that a test runs in it. Histograms named
//! `*_seconds` get latency buckets, all others buckets for counts. The process's own numbers come from
//! `/proc` when they are asked for.

use std::{
    fmt::Write,
    fs,
    sync::OnceLock,
    time::{Duration, Instant, SystemTime},
};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// From half a millisecond (a Redis round trip) to a minute (longer than any timeout).
const SECONDS_BUCKETS: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
/// For counts: sizes of batches and pages, lengths of queues.
const COUNT_BUCKETS: [f64; 13] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0,
];
/// How often recorded samples are folded into their buckets, so that memory stays bounded even if
/// nobody asks for the metrics.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
/// `/proc/self/stat` counts processor time in these. Fixed by Linux's interface to programs (proc(5)).
const CLOCK_TICKS_PER_SECOND: f64 = 100.0;

static RECORDER: OnceLock<Recorder> = OnceLock::new();

struct Recorder {
    handle: PrometheusHandle,
    started: Instant,
    started_at: SystemTime,
}

/// Installs the process's recorder, once; later calls change nothing.
pub fn install_recorder() {
    RECORDER.get_or_init(|| {
        let recorder = PrometheusBuilder::new()
            .set_buckets(&COUNT_BUCKETS)
            .and_then(|builder| {
                builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)
            })
            .expect("the buckets are not empty")
            .build_recorder();
        let handle = recorder.handle();
        if ::metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is installed; /metrics shows only the process");
        }
        Recorder {
            handle,
            started: Instant::now(),
            started_at: SystemTime::now(),
        }
    });
}

/// Folds recorded samples for as long as it is polled.
pub(crate) async fn upkeep() {
    loop {
        tokio::time::sleep(UPKEEP_INTERVAL).await;
        if let Some(recorder) = RECORDER.get() {
            recorder.handle.run_upkeep();
        }
    }
}

/// The body of `/metrics`.
pub(crate) fn render() -> String {
    let Some(recorder) = RECORDER.get() else {
        return String::new();
    };
    let mut text = recorder.handle.render();
    for (name, kind, help, value) in process_metrics(recorder) {
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}")
            .expect("a string takes all text");
    }
    text
}

type Sample = (&'static str, &'static str, &'static str, f64);

/// By the names that Prometheus's client libraries share
/// (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>), and the peak of
/// resident memory, which bounds are checked against. What cannot be read is left out.
fn process_metrics(recorder: &Recorder) -> Vec<Sample> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let started_at = recorder.started_at.duration_since(SystemTime::UNIX_EPOCH);
    let gauge = |name, help, value: Option<f64>| value.map(|value| (name, "gauge", help, value));
    [
        gauge(
            "process_resident_memory_bytes",
            "Resident memory.",
            status_bytes(&status, "VmRSS:"),
        ),
        gauge(
            "process_resident_memory_peak_bytes",
            "Highest resident memory since the start.",
            status_bytes(&status, "VmHWM:"),
        ),
        cpu_seconds().map(|seconds| {
            let help = "Processor time in user and system mode.";
            ("process_cpu_seconds_total", "counter", help, seconds)
        }),
        gauge(
            "process_open_fds",
            "Open file descriptors.",
            fs::read_dir("/proc/self/fd")
                .ok()
                .map(|entries| entries.count() as f64),
        ),
        gauge(
            "process_uptime_seconds",
            "Time since the start.",
            Some(recorder.started.elapsed().as_secs_f64()),
        ),
        gauge(
            "process_start_time_seconds",
            "Time of the start, since 1970.",
            started_at.ok().map(|since| since.as_secs_f64()),
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A line such as `VmRSS:     1234 kB`.
fn status_bytes(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}

/// Fields 14 and 15 of `/proc/self/stat`, counted after the name, which may contain spaces.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut fields = after_name.split(' ').skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / CLOCK_TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, name: &str) -> f64 {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
            .unwrap_or_else(|| panic!("{name} in {text}"))
    }

    #[test]
    fn metrics_show_what_was_recorded_and_what_the_process_costs() {
        install_recorder();
        install_recorder();
        ::metrics::histogram!("runtime_test_seconds").record(0.02);
        ::metrics::histogram!("runtime_test_rows").record(300.0);
        let text = render();
        assert!(
            text.contains("runtime_test_seconds_bucket{le=\"0.025\"} 1"),
            "{text}"
        );
        assert!(
            text.contains("runtime_test_seconds_bucket{le=\"0.01\"} 0"),
            "{text}"
        );
        assert!(text.contains("runtime_test_rows_bucket{le=\"500\"} 1"), "{text}");

        let resident = value(&text, "process_resident_memory_bytes ");
        let peak = value(&text, "process_resident_memory_peak_bytes ");
        assert!(resident > 1e6 && resident < 1e10, "{resident}");
        assert!(peak >= resident * 0.9, "{peak}");
        assert!(value(&text, "process_open_fds ") >= 3.0);
        assert!(value(&text, "process_cpu_seconds_total ") >= 0.0);
    }

    #[test]
    fn processor_time_is_read_past_a_name_with_spaces() {
        assert!(cpu_seconds().is_some());
    }
}
