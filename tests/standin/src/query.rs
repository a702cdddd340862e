//! Query strings and selectors of requests.
//!
//! Invariant: a selector that the stand-in does not understand is refused, never taken for "all".

use serde_json::Value;

use crate::refusal::Refusal;

/// The decoded parameters of a query string, in their order.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (decode(name), decode(value)))
                .collect(),
        )
    }

    pub(crate) fn first(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(named, _)| named == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        self.0
            .iter()
            .filter(|(named, _)| named == name)
            .map(|(_, value)| value.clone())
            .collect()
    }

    /// Kubernetes takes `true` and `1`.
    pub(crate) fn is_true(&self, name: &str) -> bool {
        matches!(self.first(name), Some("true" | "1"))
    }
}

/// Percent-decoding; `+` is a blank in a query.
fn decode(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => decoded.push(b' '),
            b'%' => {
                let high = bytes
                    .next()
                    .and_then(|digit| char::from(digit).to_digit(16));
                let low = bytes
                    .next()
                    .and_then(|digit| char::from(digit).to_digit(16));
                let value = high
                    .zip(low)
                    .and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
                decoded.push(value.unwrap_or(b'%'));
            }
            other => decoded.push(other),
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

enum Rule {
    Is(String, String),
    IsNot(String, String),
    Has(String),
    HasNot(String),
}

/// A label selector and a field selector together.
pub(crate) struct Selector {
    labels: Vec<Rule>,
    fields: Vec<Rule>,
}

impl Selector {
    pub(crate) fn parse(query: &Query) -> Result<Self, Refusal> {
        let labels = rules(query.first("labelSelector").unwrap_or_default())?;
        let fields = rules(query.first("fieldSelector").unwrap_or_default())?;
        for rule in &fields {
            let (Rule::Is(field, _)
            | Rule::IsNot(field, _)
            | Rule::Has(field)
            | Rule::HasNot(field)) = rule;
            if !matches!(
                field.as_str(),
                "metadata.name" | "metadata.namespace" | "spec.nodeName" | "status.phase"
            ) {
                return Err(Refusal::bad_request(&format!(
                    "field label not supported: {field}"
                )));
            }
        }
        Ok(Self { labels, fields })
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        let label = |key: &str| labels.get(key).and_then(Value::as_str).map(str::to_owned);
        let field = |path: &str| {
            path.split('.')
                .fold(object, |at, part| &at[part])
                .as_str()
                .map(str::to_owned)
        };
        self.labels.iter().all(|rule| holds(rule, label))
            && self.fields.iter().all(|rule| holds(rule, field))
    }
}

fn holds(rule: &Rule, value_of: impl Fn(&str) -> Option<String>) -> bool {
    match rule {
        Rule::Is(key, value) => value_of(key).as_deref() == Some(value),
        Rule::IsNot(key, value) => value_of(key).as_deref() != Some(value),
        Rule::Has(key) => value_of(key).is_some(),
        Rule::HasNot(key) => value_of(key).is_none(),
    }
}

fn rules(text: &str) -> Result<Vec<Rule>, Refusal> {
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    parts.map(rule).collect()
}

fn rule(text: &str) -> Result<Rule, Refusal> {
    if text.contains(['(', ')', ' ']) {
        return Err(Refusal::bad_request(&format!(
            "unable to parse requirement: the stand-in knows no sets: {text:?}"
        )));
    }
    if let Some((key, value)) = text.split_once("!=") {
        return Ok(Rule::IsNot(key.to_owned(), value.to_owned()));
    }
    if let Some((key, value)) = text.split_once('=') {
        return Ok(Rule::Is(
            key.to_owned(),
            value.trim_start_matches('=').to_owned(),
        ));
    }
    Ok(match text.strip_prefix('!') {
        Some(key) => Rule::HasNot(key.to_owned()),
        None => Rule::Has(text.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn selected(query: &str, object: &Value) -> bool {
        Selector::parse(&Query::parse(query))
            .map_err(|refusal| refusal.body)
            .expect("a selector")
            .matches(object)
    }

    #[test]
    fn query_values_come_decoded_and_in_order() {
        let query =
            Query::parse("command=sh&command=-c&command=echo+a%26b%3D%C3%A4&stdin=1&tty=false");
        assert_eq!(query.all("command"), ["sh", "-c", "echo a&b=ä"]);
        assert!(query.is_true("stdin") && !query.is_true("tty") && !query.is_true("stdout"));
    }

    #[test]
    fn selectors_select() {
        let pod = json!({"metadata": {"name": "box", "labels": {"rdev.dev/project": "demo"}}, "status": {"phase": "Running"}});
        assert!(selected("", &pod));
        assert!(selected(
            "labelSelector=rdev.dev%2Fproject%3Ddemo&fieldSelector=metadata.name%3Dbox",
            &pod
        ));
        assert!(selected(
            "labelSelector=rdev.dev/project==demo,!other",
            &pod
        ));
        assert!(!selected("labelSelector=rdev.dev/project!=demo", &pod));
        assert!(!selected("fieldSelector=status.phase=Failed", &pod));
        assert!(Selector::parse(&Query::parse("fieldSelector=spec.hostname=x")).is_err());
        assert!(Selector::parse(&Query::parse("labelSelector=a in (b)")).is_err());
    }
}
