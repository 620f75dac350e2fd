//! The trace context that a stream entry carries: the W3C `traceparent` of the span that wrote it.
//!
//! So one trace runs from the tick to the send, through every queue. Only sampled spans are carried:
//! what is not sampled costs an entry nothing, and neither does anything while traces are not exported.

use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Whether spans are exported at all: asked for every message, so it must be cheap.
static EXPORTING: AtomicBool = AtomicBool::new(false);

/// Called when an exporter is installed.
pub(crate) fn spans_are_exported() {
    EXPORTING.store(true, Ordering::Relaxed);
}

/// The `traceparent` of the current span, if it is sampled.
///
/// `00-<trace id, 32 hex digits>-<span id, 16 hex digits>-<flags, 2 hex digits>`, by W3C Trace
/// Context, section 3.2.
pub fn current_trace_context() -> Option<String> {
    if !EXPORTING.load(Ordering::Relaxed) {
        return None;
    }
    let context = Span::current().context();
    let span = context.span();
    let span = span.span_context();
    (span.is_valid() && span.is_sampled()).then(|| {
        format!(
            "00-{}-{}-{:02x}",
            span.trace_id(),
            span.span_id(),
            span.trace_flags().to_u8()
        )
    })
}

/// Makes `span` go on in the trace of the entry's producer, and links it to the producer's span.
///
/// To be called before `span` is entered. A `traceparent` that cannot be read is ignored: an entry's
/// work never fails because of its trace.
pub fn link_to(span: &Span, traceparent: &str) {
    if let Some(producer) = producer(traceparent) {
        // An error means that the span is disabled or was entered already: the link still tells.
        let _ = span.set_parent(Context::new().with_remote_span_context(producer.clone()));
        span.add_link(producer);
    }
}

/// Links `span` to the producer's span but leaves it in its own trace: for a span that handles a batch
/// of entries from many traces, and for callers outside, who must not decide what is sampled.
pub fn link_only(span: &Span, traceparent: &str) {
    if let Some(producer) = producer(traceparent) {
        span.add_link(producer);
    }
}

fn producer(traceparent: &str) -> Option<SpanContext> {
    if !EXPORTING.load(Ordering::Relaxed) {
        return None;
    }
    parse(traceparent)
}

fn parse(traceparent: &str) -> Option<SpanContext> {
    let mut parts = traceparent.split('-');
    let (version, trace_id, span_id, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    // A later version may add parts; `ff` is forbidden.
    if version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    for (part, digits) in [(version, 2), (trace_id, 32), (span_id, 16), (flags, 2)] {
        if part.len() != digits || !part.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
    }
    let context = SpanContext::new(
        TraceId::from_hex(trace_id).ok()?,
        SpanId::from_hex(span_id).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED,
        true,
        TraceState::NONE,
    );
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_and_a_broken_one_is_not() {
        let read = parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        let read = read.expect("the example of the specification");
        assert!(read.is_sampled() && read.is_remote());
        assert_eq!(read.span_id().to_string(), "b7ad6b7169203331");
        for broken in [
            "",
            "00",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319é-b7ad6b7169203331-01",
        ] {
            assert_eq!(parse(broken), None, "{broken}");
        }
    }
}
