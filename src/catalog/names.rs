//! Names of files, from what users name things.

use std::collections::BTreeSet;

/// The longest name that is kept: a file system takes 255 bytes with its ending.
const LONGEST: usize = 80;

/// A name that every file system and address takes, whatever the user wrote: lower-case letters, digits, `_`, `-` and, inside,
/// `.`.
pub(super) fn file_name(name: &str) -> String {
    let plain: String = name
        .chars()
        .take(LONGEST)
        .map(|letter| match letter.to_ascii_lowercase() {
            kept if kept.is_ascii_alphanumeric() || matches!(kept, '_' | '-' | '.') => kept,
            _ => '-',
        })
        .collect();
    match plain.trim_matches(['.', '-']) {
        "" => "unnamed".into(),
        kept => kept.into(),
    }
}

/// File names in one folder: what would collide gets a number.
#[derive(Debug, Default)]
pub(super) struct Folder {
    taken: BTreeSet<String>,
}

impl Folder {
    pub fn name(&mut self, name: &str) -> String {
        let plain = file_name(name);
        let mut candidate = plain.clone();
        let mut number = 1;
        while !self.taken.insert(candidate.clone()) {
            number += 1;
            candidate = format!("{plain}-{number}");
        }
        candidate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leaves_its_folder_or_takes_anothers_place() {
        let mut folder = Folder::default();
        let named = [
            "email",
            "../../etc/passwd",
            "E-Mail",
            "e/mail",
            "…",
            "",
            "2.1.0",
            ".hidden",
        ]
        .map(|name| folder.name(name));
        assert_eq!(
            named,
            [
                "email",
                "etc-passwd",
                "e-mail",
                "e-mail-2",
                "unnamed",
                "unnamed-2",
                "2.1.0",
                "hidden"
            ]
        );
    }
}
