//! What the fuzzer runs: the parsers that outsiders reach, and what must hold of everything they read.
//!
//! Each target takes any bytes and panics where a promise is broken. It returns how many things it could
//! read, so that a seed that is refused at the door, and so tests nothing any more, is noticed.
//!
//! The folder `fuzz/` at the root has the fuzzer's side (`just fuzz`); the tests of this crate run the same
//! targets over the seeds and over mutations of them (`just test`).

mod stream_entry;
mod template_text;
mod webhook_body;

pub use stream_entry::stream_entry;
pub use template_text::template_text;
pub use webhook_body::webhook_body;

/// A target.
pub type Target = fn(&[u8]) -> usize;

/// Every target, by the name of its folder of seeds.
pub const TARGETS: [(&str, Target); 3] = [
    ("stream_entry", stream_entry),
    ("template_text", template_text),
    ("webhook_body", webhook_body),
];
