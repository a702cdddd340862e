//! What PostgreSQL refuses in text and JSON, made storable.
//!
//! Commands print NUL and the Claude CLI writes `\u0000` inside strings; `text` and `jsonb` refuse
//! it. Each becomes U+FFFD, the sign for what cannot be shown. The log keeps the exact bytes.

use std::borrow::Cow;

use serde_json::Value;

const REPLACEMENT: &str = "\u{FFFD}";

/// The text without NUL.
pub(crate) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', REPLACEMENT))
    } else {
        Cow::Borrowed(text)
    }
}

/// The same for text that may be absent.
pub(crate) fn optional(value: Option<&str>) -> Option<Cow<'_, str>> {
    value.map(text)
}

/// The same for each of a list.
pub(crate) fn list(values: &[String]) -> Vec<Cow<'_, str>> {
    values.iter().map(|value| text(value)).collect()
}

/// The JSON value without NUL in its strings and keys. Recursion is bounded: the parser that made
/// the value refuses more than 128 levels.
pub(crate) fn json(value: &Value) -> Value {
    match value {
        Value::String(string) => Value::String(text(string).into_owned()),
        Value::Array(items) => Value::Array(items.iter().map(json).collect()),
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(key, value)| (text(key).into_owned(), json(value)))
                .collect(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json as value;

    #[test]
    fn nul_is_replaced_everywhere() {
        assert_eq!(text("a\0b"), "a\u{FFFD}b");
        assert!(matches!(text("ab"), Cow::Borrowed("ab")));
        let found = json(&value!({"k\0": [1, "v\0", {"x": null}]}));
        assert_eq!(found, value!({"k\u{FFFD}": [1, "v\u{FFFD}", {"x": null}]}));
    }
}
