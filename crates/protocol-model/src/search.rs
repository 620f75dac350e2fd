//! Searches for a case that breaks a promise, and makes what it finds small and readable.

use crate::action::Case;
use crate::draw::{Trouble, case};
use crate::flaw::Flaw;
use crate::promise::Violation;
use crate::world::World;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use std::fmt;

/// Most things that happen in one case before it calms down.
const ACTIONS_MAX: usize = 80;
/// Tries to make a counterexample smaller.
const SHRINKS_MAX: u32 = 2_000;

/// A case that breaks a promise.
#[derive(Debug, Clone)]
pub struct Counterexample {
    /// The smallest case that was found.
    pub case: Case,
    /// What it breaks.
    pub violation: Violation,
    /// Every step of it, one a line.
    pub steps: Vec<String>,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}\n\nThe case:\n{}", self.violation, self.case)?;
        writeln!(formatter, "Step by step:")?;
        for step in &self.steps {
            writeln!(formatter, "{step}")?;
        }
        Ok(())
    }
}

/// Runs one case from its beginning to its calm end.
pub fn replay(case: &Case, flaw: Option<Flaw>) -> Result<(), Box<Counterexample>> {
    let Err(violation) = World::new(case, flaw, false).run(case) else {
        return Ok(());
    };
    let mut told = World::new(case, flaw, true);
    let again = told.run(case);
    debug_assert_eq!(again.as_ref(), Err(&violation), "a case always ends the same way");
    Err(Box::new(Counterexample {
        case: case.clone(),
        violation,
        steps: told.env.log.unwrap_or_default(),
    }))
}

/// Tries `cases` cases, the same ones for the same `seed`. Returns the first that breaks a promise, shrunk.
pub fn search(flaw: Option<Flaw>, cases: u32, seed: u64) -> Result<(), Box<Counterexample>> {
    let config = Config {
        cases,
        max_shrink_iters: SHRINKS_MAX,
        failure_persistence: None,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let troubles = flaw.map_or(Trouble::ALL, Flaw::troubles);
    let found = TestRunner::new_with_rng(config, rng).run(&case(ACTIONS_MAX, troubles), |case| {
        World::new(&case, flaw, false)
            .run(&case)
            .map_err(|violation| TestCaseError::fail(violation.to_string()))
    });
    match found {
        Ok(()) => Ok(()),
        Err(TestError::Fail(_, case)) => replay(&case, flaw),
        Err(TestError::Abort(reason)) => panic!("the search was given up: {reason}"),
    }
}
