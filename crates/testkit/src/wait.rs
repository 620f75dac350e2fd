//! Waiting on conditions: a test that sleeps for a fixed time is either slow or wrong.

use std::fmt::Display;
use std::panic::Location;
use std::time::{Duration, Instant};

/// The first pause between two looks; it doubles up to [`LONGEST_PAUSE`].
const SHORTEST_PAUSE: Duration = Duration::from_millis(2);
/// The longest pause between two looks: small enough not to be felt, large enough not to load the server.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Looks until `probe` answers `Some`, and gives that value.
///
/// Panics after `timeout` with `what` (written to follow "waited for", such as `"the campaign to finish"`)
/// and the caller's line. One look always happens, and one look that hangs is cut off by the timeout too.
#[track_caller]
pub fn wait_for<T>(
    timeout: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> impl Future<Output = T> {
    let caller = Location::caller();
    async move {
        let looked = look_until(timeout, async || probe().await.ok_or("not yet")).await;
        looked.unwrap_or_else(|_| panic!("{caller}: waited {timeout:?} for {what}, in vain"))
    }
}

/// Like [`wait_for`], for probes that can say what they saw instead: the panic repeats the last error.
#[track_caller]
pub fn wait_for_ok<T, E: Display>(
    timeout: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Result<T, E>,
) -> impl Future<Output = T> {
    let caller = Location::caller();
    async move {
        match look_until(timeout, async || probe().await).await {
            Ok(value) => value,
            Err(Some(last)) => panic!("{caller}: waited {timeout:?} for {what}; last seen: {last}"),
            Err(None) => panic!("{caller}: waited {timeout:?} for {what}; the first look never ended"),
        }
    }
}

/// The first `Ok`, or the last error seen when time is up (`None`: not even one look ended).
pub(crate) async fn look_until<T, E>(
    timeout: Duration,
    mut probe: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, Option<E>> {
    let deadline = Instant::now() + timeout;
    let mut pause = SHORTEST_PAUSE;
    let mut last = None;
    loop {
        let left = deadline
            .saturating_duration_since(Instant::now())
            .max(SHORTEST_PAUSE);
        match tokio::time::timeout(left, probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => last = Some(error),
            Err(_) => return Err(last),
        }
        if Instant::now() + pause > deadline {
            return Err(last);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
