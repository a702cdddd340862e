//! What arbitrary bytes must never do to the places where rdev reads what others wrote.
//!
//! Each function takes any bytes and panics when a promise does not hold. `cargo fuzz` runs them for
//! hours, guided by coverage (`cargo-fuzz/`, which is a workspace of its own); the tests here run
//! them for a moment, over the seeds and changed seeds.

mod cursor;
mod frame;
mod request;
mod sse;
mod subject;

pub use cursor::cursor;
pub use frame::frame;
pub use request::request;
pub use sse::sse;
pub use subject::subject;

/// A function that is fuzzed, its name, and inputs that reach deep into it.
pub struct Target {
    /// As in `cargo fuzz run NAME`.
    pub name: &'static str,
    /// What is fuzzed.
    pub run: fn(&[u8]),
    /// Where changes begin.
    pub seeds: &'static [&'static [u8]],
}

/// All of them.
pub const TARGETS: [Target; 5] = [
    Target {
        name: "cursor",
        run: cursor,
        seeds: cursor::SEEDS,
    },
    Target {
        name: "frame",
        run: frame,
        seeds: frame::SEEDS,
    },
    Target {
        name: "request",
        run: request,
        seeds: request::SEEDS,
    },
    Target {
        name: "sse",
        run: sse,
        seeds: sse::SEEDS,
    },
    Target {
        name: "subject",
        run: subject,
        seeds: subject::SEEDS,
    },
];

#[cfg(test)]
mod tests;
