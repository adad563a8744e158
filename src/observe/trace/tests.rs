use super::*;

const SENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn tracer(one_in: u32, client_context: ClientContext) -> (Arc<Tracer>, mpsc::Receiver<Finished>) {
    Tracer::new(move || one_in, client_context, Arc::default())
}

fn from_a_client() -> HeaderMap {
    HeaderMap::from_iter([(
        http::HeaderName::from_static("traceparent"),
        HeaderValue::from_static(SENT),
    )])
}

#[test]
fn one_of_so_many_is_traced_whatever_clients_send() {
    for headers in [HeaderMap::new(), from_a_client()] {
        let traced = |one_in, of| {
            let (tracer, _waiting) = tracer(one_in, ClientContext::Parent);
            let begun = (0..of).filter_map(|_| tracer.begin(&Method::GET, &headers));
            begun.count()
        };
        assert_eq!(traced(1, 1000), 1000);
        let tenth = traced(10, 50_000);
        assert!((4_500..5_500).contains(&tenth), "{tenth}");
        assert!(traced(1_000_000, 10_000) < 10);
    }
}

// With tracing on, the usual request is one that is not traced.
#[test]
fn what_is_not_traced_costs_no_allocation() {
    let (tracer, _waiting) = tracer(u32::MAX, ClientContext::Link);
    let headers = from_a_client();
    let counted = allocation_counter::measure(|| {
        assert!(tracer.begin(&Method::GET, &headers).is_none());
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn a_clients_trace_is_linked_to_or_becomes_the_requests_own() {
    let client = Remote::read(&from_a_client()).unwrap();
    for (context, known) in [
        (ClientContext::Link, false),
        (ClientContext::Link, true),
        (ClientContext::Parent, false),
        (ClientContext::Parent, true),
    ] {
        let (tracer, mut waiting) = tracer(1, context);
        let mut trace = tracer.begin(&Method::GET, &from_a_client()).unwrap();
        if known {
            trace.known_client();
        }
        let onward = trace.onward();
        trace.finish(About::default());
        let told = waiting.try_recv().unwrap();
        // A stranger could else have its requests shown in anybody's trace.
        let is_its_own = context == ClientContext::Parent && known;
        assert_eq!(told.trace == client.trace, is_its_own);
        assert_eq!(told.parent, is_its_own.then_some(client.span));
        assert_eq!(told.link, (!is_its_own).then_some(client));
        assert_eq!(onward.is_clients, is_its_own);
        let sent = onward.traceparent.to_str().unwrap();
        assert!(sent.starts_with(&format!("00-{}-", told.trace)), "{sent}");
        assert!(sent.ends_with("-01") && sent != SENT, "{sent}");
    }
}

#[test]
fn a_step_lasts_from_its_first_beginning_to_its_last_end() {
    let (tracer, mut waiting) = tracer(1, ClientContext::Link);
    let mut trace = tracer.begin(&Method::GET, &HeaderMap::new()).unwrap();
    let at = |millis| trace.began + Duration::from_millis(millis);
    let times: Vec<Instant> = (0..5).map(at).collect();
    for (at, step) in times.iter().zip([
        Step::Connection,
        Step::Response,
        Step::Connection,
        Step::Response,
    ]) {
        trace.enter(step, *at);
    }
    trace.fail();
    trace.leave(times[4]);
    // What fails outside of a step fails no step.
    trace.fail();
    let id = trace.onward().traceparent;
    trace.finish(About::default());
    let told = waiting.try_recv().unwrap();
    assert_eq!(told.spans(), 3);
    assert_eq!(told.step(Step::Authentication), None);
    let wait = told.step(Step::Connection).unwrap();
    assert_eq!([wait.begins, wait.ends], [0, 3].map(Duration::from_millis));
    let response = told.step(Step::Response).unwrap();
    assert_eq!(
        [response.begins, response.ends],
        [1, 4].map(Duration::from_millis)
    );
    assert!(id.to_str().unwrap().contains(&response.span.to_string()));
}

#[test]
fn the_step_in_which_a_request_fails_is_told() {
    let (tracer, mut waiting) = tracer(1, ClientContext::Link);
    let mut trace = tracer.begin(&Method::GET, &HeaderMap::new()).unwrap();
    for step in [Step::Authentication, Step::Authorization] {
        trace.enter(step, Instant::now());
    }
    trace.fail();
    trace.finish(About::default());
    let told = waiting.try_recv().unwrap();
    let failed = |step| told.step(step).unwrap().failed;
    assert!(!failed(Step::Authentication) && failed(Step::Authorization));
}

#[test]
fn what_finds_no_place_in_the_queue_is_counted_and_nobody_waits() {
    let (tracer, waiting) = tracer(1, ClientContext::Link);
    let end = || {
        let mut trace = tracer.begin(&Method::GET, &HeaderMap::new()).unwrap();
        trace.enter(Step::Authentication, Instant::now());
        trace.finish(About::default());
    };
    let lost = || tracer.ends.at(SpanEnd::QueueFull).unwrap().get();
    (0..QUEUE).for_each(|_| end());
    assert_eq!((waiting.len(), lost()), (QUEUE, 0));
    (0..3).for_each(|_| end());
    assert_eq!((waiting.len(), lost()), (QUEUE, 6));
    // Nobody exports any more.
    drop(waiting);
    end();
    assert_eq!(lost(), 8);
}

#[test]
fn a_method_of_a_clients_own_making_is_none() {
    let odd = Method::from_bytes(b"SECRET").unwrap();
    let (tracer, mut waiting) = tracer(1, ClientContext::Link);
    for (method, told) in [(odd, "_OTHER"), (Method::PATCH, "PATCH")] {
        let trace = tracer.begin(&method, &HeaderMap::new()).unwrap();
        trace.finish(About::default());
        assert_eq!(waiting.try_recv().unwrap().method, told);
    }
}
