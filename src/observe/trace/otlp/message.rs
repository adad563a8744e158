//! From requests to the message that a collector takes, by OpenTelemetry's semantic conventions for HTTP.

use super::super::{Finished, Remote, Step, Taken};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{
        ResourceSpans, ScopeSpans, Span, Status,
        span::{Link, SpanKind},
        status::StatusCode,
    },
};
use std::{iter, sync::LazyLock, time::Duration};
use uuid::Uuid;

/// The W3C flag `sampled`, and that [`REMOTE`] is known (`trace.proto`, `SpanFlags`).
const FLAGS: u32 = 0x101;
/// The parent, or what is linked to, is of another process.
const REMOTE: u32 = 0x300;

/// Tells replicas apart, and the runs of one.
static INSTANCE: LazyLock<String> = LazyLock::new(|| Uuid::new_v4().to_string());

/// One message.
pub(super) fn of(requests: &[Finished]) -> ExportTraceServiceRequest {
    let own = env!("CARGO_PKG_VERSION");
    let resource = Resource {
        attributes: vec![
            text("service.name", "palisade"),
            text("service.version", own),
            text("service.instance.id", &INSTANCE),
        ],
        ..Resource::default()
    };
    let scope = InstrumentationScope {
        name: "palisade".to_owned(),
        version: own.to_owned(),
        ..InstrumentationScope::default()
    };
    let spans = requests.iter().flat_map(|request| {
        let steps = request.steps.iter().map(|taken| step(request, taken));
        iter::once(server(request)).chain(steps)
    });
    let spans = ScopeSpans {
        scope: Some(scope),
        spans: spans.collect(),
        ..ScopeSpans::default()
    };
    let spans = ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![spans],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![spans],
    }
}

/// The request itself.
fn server(request: &Finished) -> Span {
    let about = &request.about;
    let mut attributes = vec![
        text("http.request.method", request.method),
        text("palisade.request.id", &about.request_id),
        text("palisade.route", about.route),
    ];
    let words = [
        ("palisade.cluster", &about.cluster),
        ("palisade.verb", &about.verb),
        ("palisade.resource", &about.resource),
    ];
    let there = words.into_iter().filter(|(_, word)| !word.is_empty());
    attributes.extend(there.map(|(key, word)| text(key, word)));
    attributes.extend(about.code.map(code));
    attributes.extend(about.fault.map(|fault| text("palisade.fault", fault)));
    if about.cut {
        attributes.push(attribute("palisade.cut", Value::BoolValue(true)));
    }
    // A client's mistake is no error of a server.
    let failed = about.code.filter(|&code| code >= 500);
    attributes.extend(failed.map(|code| text("error.type", &code.to_string())));
    let method = match request.method {
        "_OTHER" => "HTTP",
        known => known,
    };
    let parent = request.parent;
    Span {
        name: format!("{method} {}", about.route),
        kind: SpanKind::Server.into(),
        span_id: request.span.bytes().into(),
        parent_span_id: parent.map_or(Vec::new(), |id| id.bytes().into()),
        flags: FLAGS | parent.map_or(0, |_| REMOTE),
        links: request.link.iter().map(link).collect(),
        attributes,
        status: status(failed.is_some()),
        ..timed(request, Duration::ZERO, request.took)
    }
}

/// One step of it.
fn step(request: &Finished, taken: &Taken) -> Span {
    let about = &request.about;
    let (name, kind) = match taken.step {
        Step::Authentication => ("authentication", SpanKind::Internal),
        Step::Authorization => ("authorization", SpanKind::Internal),
        Step::Connection => ("connection", SpanKind::Internal),
        Step::Response => (request.method, SpanKind::Client),
    };
    let mut attributes = Vec::new();
    if matches!(taken.step, Step::Connection | Step::Response) {
        attributes.push(text("palisade.cluster", &about.cluster));
    }
    // An answer that the gateway did not make itself is the cluster's.
    let answered = about.code.filter(|_| about.fault.is_none());
    let answered = answered.filter(|_| taken.step == Step::Response);
    if taken.step == Step::Response {
        attributes.push(text("http.request.method", request.method));
        attributes.extend(answered.map(code));
    }
    let fault = about.fault.filter(|_| taken.failed);
    attributes.extend(fault.map(|fault| text("palisade.fault", fault)));
    // To refuse a client is what the first steps are for; to a client span, 4xx is an error too.
    let error = match (fault, answered) {
        (Some("client"), _) | (None, None) => None,
        (Some(fault), _) => Some(fault.to_owned()),
        (None, Some(code)) => (code >= 400).then(|| code.to_string()),
    };
    attributes.extend(error.as_ref().map(|error| text("error.type", error)));
    Span {
        name: name.to_owned(),
        kind: kind.into(),
        span_id: taken.span.bytes().into(),
        parent_span_id: request.span.bytes().into(),
        flags: FLAGS,
        attributes,
        status: status(error.is_some()),
        ..timed(request, taken.begins, taken.ends)
    }
}

/// A span of this time, counted from the request's beginning.
fn timed(request: &Finished, begins: Duration, ends: Duration) -> Span {
    let began = u128::try_from(request.began.as_nanosecond()).unwrap_or_default();
    let at = |time: Duration| u64::try_from(began + time.as_nanos()).unwrap_or(u64::MAX);
    Span {
        trace_id: request.trace.bytes().into(),
        start_time_unix_nano: at(begins),
        end_time_unix_nano: at(ends),
        ..Span::default()
    }
}

fn link(to: &Remote) -> Link {
    Link {
        trace_id: to.trace.bytes().into(),
        span_id: to.span.bytes().into(),
        flags: REMOTE,
        ..Link::default()
    }
}

fn status(error: bool) -> Option<Status> {
    error.then(|| Status {
        code: StatusCode::Error.into(),
        ..Status::default()
    })
}

fn code(code: u16) -> KeyValue {
    attribute("http.response.status_code", Value::IntValue(code.into()))
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}
