//! A record's verdicts as the state store keeps them, in few bytes: a row has them for every record.
//!
//! After a byte for the form's version, and one for whether only a suppression was delivered, per key: a byte each for the verdict and for whether it is tracked, two for the
//! threshold of a shared value, a byte for the length of the kind, the kind, a byte for whether there is a hash, and its 16.

use super::{KeyHash, Refusal, Resolved, Secret, Verdict};

/// The version of the form.
const VERSION: u8 = 1;

/// What the state store remembers of a record's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The identity's kind.
    pub kind: String,
    /// What became of it when the record was last delivered.
    pub verdict: Verdict,
    /// Whether the map tracks who else has its value.
    pub tracked: bool,
    /// The value's hash, where there was a value.
    pub hash: Option<KeyHash>,
}

/// What the state store remembers of a record's keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Whether the record was delivered as a suppression alone: then with its user id or group id, and no other key.
    pub suppressed: bool,
    /// The keys, in the order in which they were judged.
    pub keys: Vec<Remembered>,
}

/// Appends a record's verdicts to `out`.
pub fn remember(resolved: &[Resolved<'_>], suppressed: bool, secret: &Secret, out: &mut Vec<u8>) {
    out.extend_from_slice(&[VERSION, u8::from(suppressed)]);
    for Resolved { key, verdict } in resolved {
        let (code, threshold) = code(*verdict);
        // A mapping's kinds have 63 bytes at most.
        let kind = &key.kind.as_bytes()[..key.kind.len().min(255)];
        out.extend_from_slice(&[code, u8::from(key.shared_by.is_some())]);
        out.extend_from_slice(&threshold.to_le_bytes());
        out.push(kind.len() as u8);
        out.extend_from_slice(kind);
        match &key.value {
            Some(value) => {
                out.push(1);
                out.extend_from_slice(&secret.hash(key.kind, value).0);
            }
            None => out.push(0),
        }
    }
}

/// Reads what [`remember`] wrote. Bytes of another form tell nothing.
pub fn recall(bytes: &[u8]) -> Memory {
    let mut memory = Memory::default();
    let Some((&[VERSION, suppressed], mut rest)) = bytes.split_first_chunk::<2>() else {
        return memory;
    };
    memory.suppressed = suppressed == 1;
    while let Some((key, after)) = next(rest) {
        memory.keys.push(key);
        rest = after;
    }
    memory
}

fn next(bytes: &[u8]) -> Option<(Remembered, &[u8])> {
    let (&[code, tracked, low, high, length], rest) = bytes.split_first_chunk::<5>()?;
    let (kind, rest) = rest.split_at_checked(usize::from(length))?;
    let (&hashed, rest) = rest.split_first()?;
    let (hash, rest) = if hashed == 1 {
        let (hash, rest) = rest.split_first_chunk::<16>()?;
        (Some(KeyHash(*hash)), rest)
    } else {
        (None, rest)
    };
    let key = Remembered {
        kind: String::from_utf8_lossy(kind).into_owned(),
        verdict: verdict(code, u16::from_le_bytes([low, high]))?,
        tracked: tracked == 1,
        hash,
    };
    Some((key, rest))
}

fn code(verdict: Verdict) -> (u8, u16) {
    match verdict {
        Verdict::UserId => (1, 0),
        Verdict::GroupId => (2, 0),
        Verdict::ExternalId => (3, 0),
        Verdict::Informational => (4, 0),
        Verdict::Refused(Refusal::Absent) => (16, 0),
        Verdict::Refused(Refusal::Unreadable) => (17, 0),
        Verdict::Refused(Refusal::BlockedValue) => (18, 0),
        Verdict::Refused(Refusal::Shared { by }) => (19, u16::try_from(by).unwrap_or(u16::MAX)),
        Verdict::Refused(Refusal::Recycled) => (20, 0),
        Verdict::Refused(Refusal::Unsettled) => (21, 0),
    }
}

fn verdict(code: u8, threshold: u16) -> Option<Verdict> {
    Some(match code {
        1 => Verdict::UserId,
        2 => Verdict::GroupId,
        3 => Verdict::ExternalId,
        4 => Verdict::Informational,
        16 => Verdict::Refused(Refusal::Absent),
        17 => Verdict::Refused(Refusal::Unreadable),
        18 => Verdict::Refused(Refusal::BlockedValue),
        19 => Verdict::Refused(Refusal::Shared { by: threshold.into() }),
        20 => Verdict::Refused(Refusal::Recycled),
        21 => Verdict::Refused(Refusal::Unsettled),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::identity::{Key, Place};

    #[test]
    fn what_is_remembered_is_recalled_without_a_value_in_it() {
        let secret = Secret::new(&[7; 32]);
        let verdicts = [
            Verdict::UserId,
            Verdict::GroupId,
            Verdict::ExternalId,
            Verdict::Informational,
            Verdict::Refused(Refusal::Absent),
            Verdict::Refused(Refusal::Unreadable),
            Verdict::Refused(Refusal::BlockedValue),
            Verdict::Refused(Refusal::Shared { by: 1000 }),
            Verdict::Refused(Refusal::Recycled),
            Verdict::Refused(Refusal::Unsettled),
        ];
        let resolved = verdicts.map(|verdict| Resolved {
            key: Key {
                kind: "email",
                place: Place::ExternalId,
                informational: false,
                shared_by: (verdict != Verdict::UserId).then_some(3),
                value: match verdict {
                    Verdict::Refused(Refusal::Absent | Refusal::Unreadable) => None,
                    _ => Some(Cow::Borrowed("ada@example.com")),
                },
                barred: None,
            },
            verdict,
        });
        let mut bytes = Vec::new();
        remember(&resolved, true, &secret, &mut bytes);
        let recalled = recall(&bytes);
        let expected = verdicts.map(|verdict| Remembered {
            kind: "email".into(),
            verdict,
            tracked: verdict != Verdict::UserId,
            hash: (!matches!(verdict, Verdict::Refused(Refusal::Absent | Refusal::Unreadable)))
                .then(|| secret.hash("email", "ada@example.com")),
        });
        assert_eq!(
            (recalled.suppressed, recalled.keys.as_slice()),
            (true, expected.as_slice())
        );
        assert!(!bytes.windows(3).any(|window| window == b"ada"));
        assert_eq!(
            [recall(&[]), recall(&[9, 1, 2])],
            [Memory::default(), Memory::default()]
        );
    }
}
