//! Names of what the controller creates: the same for the same cause, and valid at any length of the parts.

use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// The longest name that a Job may have, so that its pods' names and labels are valid too.
const LONGEST: usize = 63;
/// How many digits of the hash a name carries.
const HASH_DIGITS: usize = 8;

/// The name of a stream's run for a slot of its schedule. A repeated create is `AlreadyExists`, never a second run.
pub fn run(pipeline_uid: &str, pipeline: &str, stream: &str, slot: Timestamp, epoch: i64) -> String {
    let cause = format!("{pipeline_uid}/{stream}/{slot}/{epoch}");
    named(&format!("{pipeline}-{stream}"), &cause)
}

/// The name of a probe of a resource, for an instant at which it became due.
pub fn probe(kind: &str, uid: &str, name: &str, generation: i64, due: Timestamp) -> String {
    named(&format!("probe-{name}"), &format!("{kind}/{uid}/{generation}/{due}"))
}

/// The name of the volume claim that holds a pipeline's state.
pub fn state_claim(pipeline: &str) -> String {
    let plain = format!("{pipeline}-state");
    if plain.len() <= LONGEST {
        plain
    } else {
        named(&plain, pipeline)
    }
}

/// A label's value: the name itself where it fits, or its beginning and a hash.
pub fn label(name: &str) -> String {
    if name.len() <= LONGEST {
        name.to_owned()
    } else {
        named(name, name)
    }
}

/// A readable beginning and a hash of the whole cause.
fn named(readable: &str, cause: &str) -> String {
    let hash: String = Sha256::digest(cause)
        .iter()
        .take(HASH_DIGITS / 2)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mut beginning: String = readable
        .chars()
        .map(|each| if each == '.' { '-' } else { each })
        .collect();
    beginning.truncate(LONGEST - HASH_DIGITS - 1);
    format!("{}-{hash}", beginning.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_valid_at_any_length_and_differ_where_their_causes_do() {
        let slot: Timestamp = "2026-05-04T08:00:00Z".parse().unwrap();
        let long = "a".repeat(253);
        for name in [
            run("u", &long, "contacts", slot, 1),
            run("u", "b.c", "s", slot, 1),
            state_claim(&long),
            label(&long),
        ] {
            assert!(
                name.len() <= LONGEST && !name.ends_with('-') && !name.contains('.'),
                "{name}"
            );
        }
        let all = [
            run("u", &long, "contacts", slot, 1),
            run("u", &long, "opt-outs", slot, 1),
            run("v", &long, "contacts", slot, 1),
            run("u", &long, "contacts", slot, 2),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(all[0], run("u", &long, "contacts", slot, 1));
    }
}
