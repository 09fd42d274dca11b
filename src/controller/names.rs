//! Names of what the controller creates: the same for the same cause, and valid at any length of the parts.

use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// The longest value of a label, and the longest name that a label holds.
const LONGEST_LABEL: usize = 63;
/// The longest name of a Job that its pods' names hold whole: Kubernetes cuts what it puts before their random suffix, the dash
/// included, to 58 characters, and who may write the status is told by the run that a pod's name begins with.
const LONGEST_JOB: usize = 57;
/// How many digits of the hash a name carries.
const HASH_DIGITS: usize = 8;

/// The name of a stream's run for a slot of its schedule. A repeated create is `AlreadyExists`, never a second run.
pub fn run(pipeline_uid: &str, pipeline: &str, stream: &str, slot: Timestamp, epoch: i64) -> String {
    let cause = format!("{pipeline_uid}/{stream}/{slot}/{epoch}");
    named(&format!("{pipeline}-{stream}"), &cause, LONGEST_JOB)
}

/// The name of a probe of a resource, for an instant at which it became due.
pub fn probe(kind: &str, uid: &str, name: &str, generation: i64, due: Timestamp) -> String {
    named(
        &format!("probe-{name}"),
        &format!("{kind}/{uid}/{generation}/{due}"),
        LONGEST_JOB,
    )
}

/// The name of the Job of a command that a person runs, asked for at an instant.
pub fn errand(pipeline: &str, purpose: &str, at: Timestamp) -> String {
    named(
        &format!("{purpose}-{pipeline}"),
        &format!("{pipeline}/{at:.9}"),
        LONGEST_JOB,
    )
}

/// The name of the volume claim that holds a pipeline's state.
pub fn state_claim(pipeline: &str) -> String {
    let plain = format!("{pipeline}-state");
    if plain.len() <= LONGEST_LABEL {
        plain
    } else {
        named(&plain, pipeline, LONGEST_LABEL)
    }
}

/// A label's value: the name itself where it fits, or its beginning and a hash.
pub fn label(name: &str) -> String {
    if name.len() <= LONGEST_LABEL {
        name.to_owned()
    } else {
        named(name, name, LONGEST_LABEL)
    }
}

/// A readable beginning and a hash of the whole cause, `longest` characters at most.
fn named(readable: &str, cause: &str, longest: usize) -> String {
    let hash: String = Sha256::digest(cause)
        .iter()
        .take(HASH_DIGITS / 2)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mut beginning: String = readable
        .chars()
        .map(|each| if each == '.' { '-' } else { each })
        .collect();
    beginning.truncate(longest - HASH_DIGITS - 1);
    format!("{}-{hash}", beginning.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_valid_at_any_length_and_differ_where_their_causes_do() {
        let slot: Timestamp = "2026-05-04T08:00:00Z".parse().unwrap();
        let long = "a".repeat(253);
        for (name, longest) in [
            (run("u", &long, "contacts", slot, 1), LONGEST_JOB),
            (run("u", "b.c", "s", slot, 1), LONGEST_JOB),
            (probe("CrmSource", "u", &long, 1, slot), LONGEST_JOB),
            (errand(&long, "explain", slot), LONGEST_JOB),
            (state_claim(&long), LONGEST_LABEL),
            (label(&long), LONGEST_LABEL),
        ] {
            assert!(
                name.len() <= longest && !name.ends_with('-') && !name.contains('.'),
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
