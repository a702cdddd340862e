//! What one run of the Claude CLI cost, out of what it printed: its amounts may be of this process
//! alone or of every run of the claude session so far, depending on its version.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::agent::json::{Fields, LossyText, field};
use crate::agent::usage::{COST_MAX_USD, cost};
use crate::agent::{Amount, RunAmounts};

/// The newest version that was seen to count each process alone.
const LAST_THAT_COUNTS_ALONE: [u32; 3] = [2, 1, 197];
/// The oldest version that was seen to go on counting where the session's last run ended.
const FIRST_THAT_GOES_ON: [u32; 3] = [2, 1, 330];

/// Whether this version of the CLI counts each process alone. Versions that nobody looked at are
/// not known; the newest ones are taken to be like the newest that was.
pub(super) fn counts_alone(version: &str) -> Option<bool> {
    let mut parts = version.split('.').map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch)), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let version = [major, minor, patch];
    if version <= LAST_THAT_COUNTS_ALONE {
        Some(true)
    } else if version >= FIRST_THAT_GOES_ON {
        Some(false)
    } else {
        None
    }
}

/// What a result says. Of its process alone it is known where it is the first one of it and says
/// what was added since the last one, which is undocumented and newer versions have.
pub(super) fn amounts(result: &Fields<'_>) -> RunAmounts {
    let total = field(result, "modelUsage").and_then(sum);
    let is_first = field(result, "result_index").is_some_and(|index| index.get() == "0");
    let alone = field(result, "model_usage_since_last_result").filter(|_| is_first);
    let alone = alone.and_then(sum);
    RunAmounts {
        total,
        // More than everything is no part of it.
        alone: alone.filter(|alone| total.is_some_and(|total| is_part(alone, &total))),
    }
}

fn is_part(part: &Amount, whole: &Amount) -> bool {
    let (part_tokens, whole_tokens) = (part.tokens, whole.tokens);
    part.cost_usd <= whole.cost_usd
        && part_tokens.input <= whole_tokens.input
        && part_tokens.output <= whole_tokens.output
        && part_tokens.cache_read <= whole_tokens.cache_read
        && part_tokens.cache_write <= whole_tokens.cache_write
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ModelAmount<'a> {
    input_tokens: u64,
    output_tokens: u64,
    #[serde(default)]
    cache_read_input_tokens: u64,
    #[serde(default)]
    cache_creation_input_tokens: u64,
    #[serde(borrow, rename = "costUSD")]
    cost_usd: &'a RawValue,
}

/// All models together; none if one of them cannot be read.
fn sum(models: &RawValue) -> Option<Amount> {
    let models: BTreeMap<LossyText, ModelAmount<'_>> = serde_json::from_str(models.get()).ok()?;
    let (mut sum, mut cost_usd) = (Amount::default(), 0.0);
    for model in models.values() {
        let tokens = &mut sum.tokens;
        tokens.input = tokens.input.checked_add(model.input_tokens)?;
        tokens.output = tokens.output.checked_add(model.output_tokens)?;
        tokens.cache_read = tokens
            .cache_read
            .checked_add(model.cache_read_input_tokens)?;
        tokens.cache_write = tokens
            .cache_write
            .checked_add(model.cache_creation_input_tokens)?;
        // The JSON reader is not exact in the last digit; this is.
        cost_usd += cost(model.cost_usd.get())?;
    }
    sum.cost_usd = Some(cost_usd);
    Some(sum).filter(|sum| (0.0..=COST_MAX_USD).contains(&cost_usd) && sum.tokens.are_possible())
}

#[cfg(test)]
#[path = "usage_tests.rs"]
mod tests;
