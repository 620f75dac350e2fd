//! Everything at everything, twice, and then the work of a normal day.

use crate::endpoints::{self, Endpoint};
use crate::wire::{Answer, Ending, Request, exchange};
use crate::{attacks, cloud_api, fields, nonsense};
use e2e::{LANE, Stack, StackOptions};
use futures::{StreamExt, stream};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Set to repeat a run: its seed is in its output.
const SEED: &str = "BAD_INPUT_SEED";
/// Requests under way at a time.
const AT_A_TIME: usize = 16;
/// What a second barrage may add to a service's memory: the first one has filled every pool and cache.
const GROWTH_MAX_KIB: u64 = 24 * 1024;
/// Failures that are shown; they tend to come in crowds.
const SHOWN: usize = 40;

#[tokio::test]
async fn nothing_that_is_sent_breaks_a_service() {
    let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| rand::rng().random());
    println!("{SEED}={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut stack = Stack::start(StackOptions {
        customers: 300,
        ..StackOptions::default()
    })
    .await;
    let processes: Vec<u32> = stack.services().map(testkit::ServiceProcess::pid).collect();

    cloud_api::prepare(&stack).await;
    let webhooks = cloud_api::webhooks(&stack).await;
    let mut failures = barrage(&stack, &mut random).await;
    mend(&stack, &webhooks).await;
    let before = memory(&stack);
    failures.extend(barrage(&stack, &mut random).await);
    mend(&stack, &webhooks).await;
    let after = memory(&stack);

    let count = failures.len();
    failures.truncate(SHOWN);
    assert!(
        count == 0,
        "{count} requests were not taken well, seed {seed}:\n{}",
        failures.join("\n")
    );
    for (service, kib) in &after {
        let grown = kib.saturating_sub(before[service]);
        assert!(
            grown < GROWTH_MAX_KIB,
            "{service} grew by {grown} KiB: {before:?} to {after:?}"
        );
    }
    let now: Vec<u32> = stack.services().map(testkit::ServiceProcess::pid).collect();
    assert_eq!(now, processes);
    assert_healthy(&mut stack).await;
    assert_works(&stack).await;
}

/// Everything at everything. Returns what was not taken well.
async fn barrage(stack: &Stack, random: &mut StdRng) -> Vec<String> {
    let endpoints = endpoints::all(stack).await;
    let mut count = 0;
    // Made as they are needed: some are large.
    let requests = endpoints.iter().flat_map(|endpoint| {
        let requests = against(endpoint, random);
        count += requests.len();
        requests.into_iter().map(move |request| (endpoint, request))
    });
    let exchanges = stream::iter(requests).map(|(endpoint, request)| async move {
        let ending = exchange(endpoint.address, &request).await;
        let wrong = judge(&request, &ending)?;
        let Endpoint {
            service,
            method,
            path,
            ..
        } = endpoint;
        Some(format!("{service} {method} {path}: {}: {wrong}", request.name))
    });
    let exchanges = exchanges.buffer_unordered(AT_A_TIME);
    let failures = exchanges.filter_map(async |wrong| wrong).collect().await;
    println!("{count} requests at {} endpoints", endpoints.len());
    failures
}

fn against(endpoint: &Endpoint, random: &mut StdRng) -> Vec<Request> {
    let mut requests = attacks::targets(endpoint, random);
    requests.extend(attacks::headers(endpoint, random));
    requests.extend(fields::requests(endpoint));
    // What no handler looks at is the same at all endpoints of a service, so one of them stands for the others.
    let is_first = endpoint.path == "/livez";
    if endpoint.body.is_some() || is_first {
        requests.extend(attacks::bodies(endpoint, random));
        requests.extend(attacks::large(endpoint));
        requests.extend(nonsense::framing(endpoint));
    }
    if is_first {
        requests.extend(nonsense::first_lines(endpoint));
    }
    requests
}

/// What is wrong with how a request ended, if anything is.
fn judge(request: &Request, ending: &Ending) -> Option<String> {
    match ending {
        Ending::Stuck => Some("no answer, and no end".to_owned()),
        Ending::Closed => (!request.may_go_unanswered).then(|| "closed without an answer".to_owned()),
        Ending::Answered(answer) => judge_answer(answer),
    }
}

fn judge_answer(answer: &Answer) -> Option<String> {
    let Answer { status, head, body } = answer;
    let shown = || format!("{head}\n{:.600}", String::from_utf8_lossy(body));
    if *status >= 500 {
        return Some(shown());
    }
    if *status < 400 || explains_itself(answer) {
        return None;
    }
    Some(format!("no explanation: {}", shown()))
}

/// A refusal by a handler says why; one by the HTTP layer, which cannot know what was meant, has no body and
/// ends the connection.
fn explains_itself(answer: &Answer) -> bool {
    if answer.body.is_empty() {
        let is_head = answer.has_type("application/problem+json");
        return is_head || matches!(answer.status, 400 | 414 | 431);
    }
    let Ok(body) = serde_json::from_slice::<Value>(&answer.body) else {
        return false;
    };
    let text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    if answer.has_type("application/problem+json") {
        body["status"] == answer.status && text(&body["detail"])
    } else {
        // The mock of the Cloud API refuses as the Cloud API does.
        text(&body["error"]["message"])
    }
}

/// What some of the requests were allowed to change, back to what the stack began with.
async fn mend(stack: &Stack, webhooks: &Value) {
    let number = format!("/v1/phone-numbers/{LANE}");
    stack
        .api(
            Method::PATCH,
            &number,
            Some(json!({"throughput_per_second": 2_000})),
        )
        .await;
    let resume = format!("{number}/resume");
    stack.try_api(Method::POST, &resume, None).await;
    cloud_api::mend(stack, webhooks).await;
}

fn memory(stack: &Stack) -> BTreeMap<String, u64> {
    let services = stack.services();
    services
        .map(|service| (service.name().to_owned(), service.memory_kib().expect("it runs")))
        .collect()
}

async fn assert_healthy(stack: &mut Stack) {
    stack.wait_ready().await;
    for service in stack.services() {
        let log = service.log();
        let bad = |line: &&str| line.contains("panicked") || line.contains("failed inside");
        let bad: Vec<&str> = log.lines().filter(bad).take(SHOWN).collect();
        assert!(bad.is_empty(), "{}: {}", service.name(), bad.join("\n"));
    }
}

/// A campaign still goes from its schedule to its end.
async fn assert_works(stack: &Stack) {
    let id = stack.create(json!({"name": "the day after"})).await;
    stack.schedule(&id, None).await;
    let report = stack.finished(&id, Duration::from_secs(30)).await;
    report.assert_exactly_once();
    assert!(report.accepted() > 200, "{report:?}");
}
