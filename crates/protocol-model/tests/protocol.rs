//! t
use protocol_model::{Flaw, search};
fn cases() -> u32 {
    std::env::var("PROTOCOL_MODEL_CASES").ok().and_then(|c| c.parse().ok()).unwrap_or(5_000)
}
#[test]
fn holds() {
    if let Err(found) = search(None, cases(), 1) { panic!("{found}"); }
}
#[test]
fn flaws() {
    for &flaw in Flaw::ALL {
        if std::env::var("ONLY").is_ok_and(|o| !o.contains(&flaw.to_string())) { continue; }
        let t = std::time::Instant::now();
        match search(Some(flaw), std::env::var("FLAWCASES").map_or(20_000, |c| c.parse().unwrap()), std::env::var("SEED").map_or(1, |c| c.parse().unwrap())) {
            Ok(()) => println!("{flaw}: NOT FOUND {:?}", t.elapsed()),
            Err(found) => println!("{flaw}: {} ({} actions) {:?}", found.violation, found.case.actions.len(), t.elapsed()),
        }
    }
}
