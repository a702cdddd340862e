//! Objects of which only some fields are looked at, whatever else is in them.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};
use serde_json::value::RawValue;

pub(super) type Fields<'a> = BTreeMap<LossyText, &'a RawValue>;

pub(super) fn fields(json: &str) -> Option<Fields<'_>> {
    serde_json::from_str(json).ok()
}

pub(super) fn field<'a>(fields: &Fields<'a>, name: &str) -> Option<&'a RawValue> {
    fields.get(name).copied()
}

/// The object in this field.
pub(super) fn object<'a>(fields: &Fields<'a>, name: &str) -> Option<Fields<'a>> {
    serde_json::from_str(field(fields, name)?.get()).ok()
}

pub(super) fn text_field(fields: &Fields<'_>, name: &str) -> Option<String> {
    text_of(field(fields, name)?)
}

/// The text, if it is one.
pub(super) fn text_of(value: &RawValue) -> Option<String> {
    serde_json::from_str::<LossyText>(value.get())
        .ok()
        .map(|text| text.0)
}

/// The texts of a list; none if it is not one of texts.
pub(super) fn texts(value: &RawValue) -> Option<Vec<String>> {
    let texts: Vec<LossyText> = serde_json::from_str(value.get()).ok()?;
    Some(texts.into_iter().map(|text| text.0).collect())
}

/// The texts of a list of blocks, joined; of those that are none (an image), the kind.
pub(super) fn blocks_text(content: &RawValue) -> String {
    let Ok(blocks) = serde_json::from_str::<Vec<Fields<'_>>>(content.get()) else {
        return String::new();
    };
    let texts: Vec<String> = blocks
        .iter()
        .map(|block| match text_field(block, "text") {
            Some(text) => text,
            None => format!("[{}]", text_field(block, "type").unwrap_or_default()),
        })
        .collect();
    texts.join("\n")
}

/// A JSON string in which half a surrogate pair becomes replacement characters: programs in
/// JavaScript print such halves, and one must not make the whole line unreadable.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LossyText(pub(super) String);

impl std::borrow::Borrow<str> for LossyText {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for LossyText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // As bytes: the JSON reader refuses half a pair in a text, but not in bytes.
        deserializer.deserialize_bytes(LossyVisitor)
    }
}

struct LossyVisitor;

impl Visitor<'_> for LossyVisitor {
    type Value = LossyText;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<LossyText, E> {
        Ok(LossyText(String::from_utf8_lossy(bytes).into_owned()))
    }

    fn visit_str<E>(self, text: &str) -> Result<LossyText, E> {
        Ok(LossyText(text.to_owned()))
    }
}
