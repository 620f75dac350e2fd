//! Logs for people and collectors, traces for OpenTelemetry.
//!
//! Logs go to standard output, as JSON or for a terminal. Traces are exported by OTLP over HTTP only
//! when the standard `OTEL_EXPORTER_OTLP_*` variables name a receiver; otherwise no span costs more
//! than the log's filter. Spans are sent in batches by a thread of their own, so a slow or missing
//! receiver never slows the service: what does not fit the queue is dropped.

use std::{fmt, io::IsTerminal, time::Duration};

use anyhow::Context;
use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracerProvider},
};
use tracing::{Level, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer, filter::Targets, layer::SubscriberExt, registry::LookupSpan, util::SubscriberInitExt,
};

use crate::{
    config::{ConfigProblem, LogFormat, RuntimeArgs},
    process::install_tls_provider,
    trace_context,
};

/// How long the last spans may take to leave when the process ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);
/// The share of root spans that is sampled unless configured: at a thousand messages a second, about
/// ten traces a second.
const DEFAULT_SAMPLING_RATIO: f64 = 0.01;
/// What exporting itself logs must not become spans, or each export would cause the next.
const EXPORTERS_OWN_TARGETS: [&str; 5] = ["opentelemetry", "reqwest", "hyper", "hyper_util", "rustls"];

/// Heading of these settings in `--help`. Set on each: a heading set for all would also take in the
/// settings that a service lists after them.
const TRACES: &str = "Traces";

/// Where traces go and which, by the names that OpenTelemetry gives these settings
/// (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>). The
/// exporter also reads `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_EXPORTER_OTLP_TIMEOUT`,
/// `OTEL_RESOURCE_ATTRIBUTES` and the `OTEL_BSP_*` limits itself.
#[derive(Clone, clap::Args)]
pub struct TraceSettings {
    /// Base URL of an OTLP/HTTP receiver; without one, nothing is exported
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", hide_env_values = true, help_heading = TRACES, value_name = "URL")]
    pub otel_exporter_otlp_endpoint: Option<String>,

    /// URL that traces are posted to, instead of the base URL and /v1/traces
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", hide_env_values = true, help_heading = TRACES, value_name = "URL")]
    pub otel_exporter_otlp_traces_endpoint: Option<String>,

    /// Turn the export off whatever the endpoints say: `true` or `false`
    #[arg(long, env = "OTEL_SDK_DISABLED", help_heading = TRACES, default_value = "false", value_name = "BOOL")]
    pub otel_sdk_disabled: String,

    /// Name of the service in traces, instead of the program's own
    #[arg(long, env = "OTEL_SERVICE_NAME", help_heading = TRACES, value_name = "NAME")]
    pub otel_service_name: Option<String>,

    /// Which spans are sampled: always_on, always_off, traceidratio, or one of them after parentbased_
    #[arg(
        long,
        env = "OTEL_TRACES_SAMPLER", help_heading = TRACES,
        default_value = "parentbased_traceidratio",
        value_name = "SAMPLER"
    )]
    pub otel_traces_sampler: String,

    /// Share of traces that the sampler `traceidratio` takes, from 0 to 1 [default: 0.01]
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", help_heading = TRACES, value_name = "RATIO")]
    pub otel_traces_sampler_arg: Option<String>,
}

/// Without the endpoints: what stands before an @ may be a password.
impl fmt::Debug for TraceSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TraceSettings")
            .field("otel_service_name", &self.otel_service_name)
            .field("otel_traces_sampler", &self.otel_traces_sampler)
            .field("otel_traces_sampler_arg", &self.otel_traces_sampler_arg)
            .finish_non_exhaustive()
    }
}

impl TraceSettings {
    /// The URL that traces are posted to, if they are exported.
    pub fn traces_url(&self) -> Option<String> {
        if self.otel_sdk_disabled.trim().eq_ignore_ascii_case("true") {
            return None;
        }
        // By OpenTelemetry's rules an empty variable is an unset one.
        let own = self.otel_exporter_otlp_traces_endpoint.as_deref();
        let base = self.otel_exporter_otlp_endpoint.as_deref();
        match (
            own.filter(|url| !url.is_empty()),
            base.filter(|url| !url.is_empty()),
        ) {
            (Some(url), _) => Some(url.to_owned()),
            (None, Some(base)) => Some(format!("{}/v1/traces", base.trim_end_matches('/'))),
            (None, None) => None,
        }
    }

    pub(crate) fn problems(&self) -> Vec<ConfigProblem> {
        let mut problems = Vec::new();
        for (setting, url) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &self.otel_exporter_otlp_endpoint),
            (
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                &self.otel_exporter_otlp_traces_endpoint,
            ),
        ] {
            let url = url.as_deref().unwrap_or_default();
            if !url.is_empty() && !url.starts_with("http://") && !url.starts_with("https://") {
                problems.push(ConfigProblem::new(
                    setting,
                    format!("`{}`", url.rsplit('@').next().unwrap_or_default()),
                    "a URL that begins with http:// or https://",
                ));
            }
        }
        if let Err(problem) = self.sampler() {
            problems.push(problem);
        }
        problems
    }

    fn sampler(&self) -> Result<Sampler, ConfigProblem> {
        let ratio = self.ratio()?;
        let parent_based = |root| Sampler::ParentBased(Box::new(root));
        match self.otel_traces_sampler.as_str() {
            "always_on" => Ok(Sampler::AlwaysOn),
            "always_off" => Ok(Sampler::AlwaysOff),
            "traceidratio" => Ok(Sampler::TraceIdRatioBased(ratio)),
            "parentbased_always_on" => Ok(parent_based(Sampler::AlwaysOn)),
            "parentbased_always_off" => Ok(parent_based(Sampler::AlwaysOff)),
            "parentbased_traceidratio" | "" => Ok(parent_based(Sampler::TraceIdRatioBased(ratio))),
            other => Err(ConfigProblem::new(
                "OTEL_TRACES_SAMPLER",
                format!("`{other}`"),
                "always_on, always_off or traceidratio, or one of them after parentbased_",
            )),
        }
    }

    fn ratio(&self) -> Result<f64, ConfigProblem> {
        let text = self.otel_traces_sampler_arg.as_deref().unwrap_or_default();
        if text.is_empty() {
            return Ok(DEFAULT_SAMPLING_RATIO);
        }
        let ratio = text.parse::<f64>().ok();
        ratio.filter(|ratio| (0.0..=1.0).contains(ratio)).ok_or_else(|| {
            ConfigProblem::new(
                "OTEL_TRACES_SAMPLER_ARG",
                format!("`{text}`"),
                "a number from 0 to 1",
            )
        })
    }
}

/// What was installed; to be flushed when the process ends.
#[must_use = "spans that were not flushed are lost"]
#[derive(Debug)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Installs logs and traces for the whole process. An error if something is installed already.
    pub fn install(service: &'static str, version: &'static str, args: &RuntimeArgs) -> anyhow::Result<Self> {
        let filter = EnvFilter::builder()
            .with_default_directive(Level::INFO.into())
            .parse(&args.rust_log)
            .context("RUST_LOG cannot be understood")?;
        let logs = match args.log_format {
            LogFormat::Json => tracing_subscriber::fmt::layer()
                .json()
                .flatten_event(true)
                .with_span_list(false)
                .boxed(),
            LogFormat::Pretty => tracing_subscriber::fmt::layer()
                .with_ansi(std::io::stdout().is_terminal())
                .boxed(),
        };
        let telemetry = Self::exporting(service, version, &args.traces)?;
        tracing_subscriber::registry()
            .with(logs.with_filter(filter))
            .with(telemetry.layer())
            .try_init()
            .context("logs are installed already")?;
        Ok(telemetry)
    }

    /// The exporter that `settings` ask for, without logs and installed nowhere.
    pub fn exporting(
        service: &'static str,
        version: &'static str,
        settings: &TraceSettings,
    ) -> anyhow::Result<Self> {
        let Some(url) = settings.traces_url() else {
            return Ok(Self { traces: None });
        };
        // The exporter's client is built even for plain HTTP with what TLS needs.
        install_tls_provider();
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_endpoint(&url)
            .build()
            .with_context(|| format!("cannot export traces to {url}"))?;
        let name = settings.otel_service_name.as_deref();
        let resource = Resource::builder()
            .with_service_name(name.filter(|name| !name.is_empty()).unwrap_or(service).to_owned())
            .with_attribute(KeyValue::new("service.version", version))
            .build();
        let sampler = settings
            .sampler()
            .map_err(|problem| anyhow::anyhow!("{problem}"))?;
        let traces = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(sampler)
            .with_batch_exporter(exporter)
            .build();
        trace_context::spans_are_exported();
        Ok(Self { traces: Some(traces) })
    }

    /// The layer that turns `tracing` spans into exported ones, if any are.
    pub fn layer<S>(&self) -> Option<impl Layer<S> + use<S>>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let tracer = self.traces.as_ref()?.tracer("campaign-engine");
        let exported = EXPORTERS_OWN_TARGETS
            .iter()
            .fold(Targets::new().with_default(Level::INFO), |targets, own| {
                targets.with_target(*own, tracing::level_filters::LevelFilter::OFF)
            });
        Some(
            tracing_opentelemetry::layer()
                .with_tracer(tracer)
                .with_filter(exported),
        )
    }

    /// Sends what is still queued and ends the export. Blocks for a bounded time; to be called outside
    /// the asynchronous runtime.
    pub fn flush(self) {
        if let Some(traces) = self.traces
            && let Err(error) = traces.shutdown_with_timeout(FLUSH_TIMEOUT)
        {
            tracing::warn!(error = %error, "the last spans could not be exported");
        }
    }
}
