//! What a mapping says of one identity key.

/// What a mapping says of one identity key.
#[derive(Clone, Debug, Default)]
pub struct KeyRule {
    /// Whether the key never merges two profiles.
    pub informational: bool,
    /// So many records with one value make it nobody's. A key with this is tracked in the identity map.
    pub shared_by: Option<u32>,
    /// The values that identify nobody.
    pub blocked: BlockedValues,
}

/// Values that identify nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockedValues {
    whole: Vec<String>,
    local_parts: Vec<String>,
}

impl BlockedValues {
    /// An entry that ends in `@` is the part before the `@` of an address, any other a whole value.
    pub fn new(entries: &[String]) -> BlockedValues {
        let mut blocked = BlockedValues::default();
        for entry in entries {
            match entry.strip_suffix('@') {
                Some(local_part) => blocked.local_parts.push(local_part.to_owned()),
                None => blocked.whole.push(entry.clone()),
            }
        }
        blocked
    }

    /// Whether a value, as the transforms leave it, identifies nobody. It is compared byte by byte; where an address has
    /// several `@`, the last one ends its local part.
    pub fn hold(&self, value: &str) -> bool {
        if self.whole.iter().any(|blocked| blocked == value) {
            return true;
        }
        !self.local_parts.is_empty()
            && value
                .rsplit_once('@')
                .is_some_and(|(local_part, _)| self.local_parts.iter().any(|blocked| blocked == local_part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_whole_value_or_with_an_at_sign_at_its_end_a_local_part() {
        let blocked = BlockedValues::new(&["info@", "noreply@", "none@example.com", "n/a"].map(str::to_owned));
        let cases = [
            ("info@example.com", true),
            ("info@other.example", true),
            ("none@example.com", true),
            ("n/a", true),
            ("info", false),
            ("info@", true),
            ("Info@example.com", false),
            ("myinfo@example.com", false),
            ("info.sales@example.com", false),
            ("info+x@example.com", false),
            ("none@other.example", false),
            ("\"info@x\"@example.com", false),
            ("n/a ", false),
            ("", false),
        ];
        assert_eq!(cases.map(|(value, _)| (value, blocked.hold(value))), cases);
    }
}
