//! What an executor may do in a namespace, as the API server says it. Asked by whoever looks for what
//! is missing; the backend itself only does things, and is refused.

/// What the API server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// Its version.
    pub version: String,
    /// What was asked about.
    pub rights: Vec<Right>,
}

/// Something that an executor may want to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Right {
    /// As in a Role.
    pub verb: &'static str,
    /// As in a Role: `pods`, `pods/exec`, `secrets`.
    pub resource: String,
    /// Whether nothing works without it.
    pub is_needed: bool,
    /// Whether it may.
    pub is_allowed: bool,
}
