//! Sending without WhatsApp, in the process: for trials, and for measuring everything else.
//!
//! What becomes of a message depends on its callback data and the seed alone, so a run can be repeated.

use std::time::Duration;
use whatsapp_api::{GraphError, MessageRequest, SendOutcome, decide};

/// The error of a simulated refusal: the recipient is not on WhatsApp.
const UNDELIVERABLE: i64 = 131_026;

/// Accepts everything but a share of the messages.
#[derive(Debug, Clone)]
pub(crate) struct Simulate {
    latency: Duration,
    failure_percent: u8,
    seed: u64,
}

impl Simulate {
    pub(crate) fn new(latency: Duration, failure_percent: u8, seed: u64) -> Self {
        Self {
            latency,
            failure_percent,
            seed,
        }
    }

    pub(super) async fn send(&self, message: &MessageRequest) -> SendOutcome {
        // A timer for each message would cost more than all the rest.
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
        let key = message.biz_opaque_callback_data.as_deref().unwrap_or_default();
        if spread(self.seed, key) % 100 < u64::from(self.failure_percent) {
            let error = GraphError::new(UNDELIVERABLE, "Message undeliverable (simulated)");
            let decision = decide(&error);
            return SendOutcome::Refused(error, decision, None);
        }
        SendOutcome::Accepted {
            wamid: format!("wamid.simulated.{key}"),
            wa_id: None,
            held: false,
        }
    }
}

/// FNV-1a, then a finish that lets every bit count (as in `SplitMix64`).
fn spread(seed: u64, key: &str) -> u64 {
    let hash = key.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn failures(simulate: &Simulate) -> Vec<usize> {
        let mut failed = Vec::new();
        for number in 0..1_000 {
            let message = MessageRequest::text("+5531987654321", "x", false)
                .with_callback_data(format!("campaign:1:{number}"));
            if let SendOutcome::Refused(..) = simulate.send(&message).await {
                failed.push(number);
            }
        }
        failed
    }

    #[tokio::test]
    async fn the_share_is_kept_and_repeats_with_the_seed() {
        let simulate = Simulate::new(Duration::ZERO, 20, 1);
        let failed = failures(&simulate).await;
        assert!((150..250).contains(&failed.len()), "{}", failed.len());
        assert_eq!(failed, failures(&simulate).await);
        assert_ne!(failed, failures(&Simulate::new(Duration::ZERO, 20, 2)).await);
        assert!(failures(&Simulate::new(Duration::ZERO, 0, 1)).await.is_empty());
    }
}
