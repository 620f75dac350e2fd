//! What one lane's sends tell of WhatsApp's answers, until the next settle takes it to Redis, where the lane's pace is
//! decided for all replicas.

use campaign_streams::lane::Answers;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The answers since the last settle.
#[derive(Debug, Default)]
pub(crate) struct Pacing(Mutex<Answers>);

impl Pacing {
    /// A message was accepted after this time.
    pub(crate) fn answered(&self, took: Duration) {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.count += 1;
        answers.took += took;
    }

    /// What was told since the last call.
    pub(crate) fn drain(&self) -> Answers {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_once() {
        let pacing = Pacing::default();
        pacing.answered(Duration::from_millis(30));
        pacing.answered(Duration::from_millis(50));
        let told = pacing.drain();
        assert_eq!((told.count, told.took), (2, Duration::from_millis(80)));
        assert_eq!(pacing.drain(), Answers::default());
    }
}
