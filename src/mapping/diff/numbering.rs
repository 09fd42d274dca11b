//! Which number a version must have, by [Semantic Versioning](https://semver.org).

use semver::{Prerelease, Version};

use super::rule::Effect;

/// A version number, held against what changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbering {
    /// The version that is compared with.
    pub from: Version,
    /// The later version.
    pub to: Version,
    /// The lowest number that such changes may have.
    pub least: Version,
}

impl Numbering {
    /// Holds `to` against the worst effect of what changed since `from`.
    ///
    /// A breaking change needs a higher major number, a compatible one a higher minor, an editorial one a higher patch. Below
    /// 1.0.0 the numbers stand one place to the right, as
    /// [Cargo has it](https://doc.rust-lang.org/cargo/reference/semver.html): breaking changes need a higher minor, others a
    /// higher patch. A pre-release promises nothing to the versions after it, and is held to the number of its release.
    pub fn of(from: Version, to: Version, effect: Option<Effect>) -> Numbering {
        let (major, minor, patch) = (from.major, from.minor, from.patch);
        let next = match effect {
            None => from.clone(),
            _ if !from.pre.is_empty() => Version::new(major, minor, patch),
            Some(Effect::Breaking) if major > 0 => Version::new(major.saturating_add(1), 0, 0),
            Some(Effect::Breaking) => Version::new(0, minor.saturating_add(1), 0),
            Some(Effect::Compatible) if major > 0 => Version::new(major, minor.saturating_add(1), 0),
            Some(_) => Version::new(major, minor, patch.saturating_add(1)),
        };
        Numbering { from, to, least: next }
    }

    /// The lowest number that would do, where the version is later than the other but its number too low for what changed; and
    /// where it is the very same number, though something did.
    pub fn too_low(&self) -> Option<&Version> {
        let release = Version {
            pre: Prerelease::EMPTY,
            ..self.to.clone()
        };
        (self.to >= self.from && release < self.least).then_some(&self.least)
    }
}

/// The version before one: the highest release below it. Pre-releases promise nothing, so none of them is compared with.
pub fn predecessor<T>(of: &Version, versions: impl IntoIterator<Item = (Version, T)>) -> Option<T> {
    let before = versions
        .into_iter()
        .filter(|(version, _)| version < of && version.pre.is_empty());
    before
        .max_by(|(left, _), (right, _)| left.cmp(right))
        .map(|(_, found)| found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_fits_what_changed_or_is_too_low() {
        use Effect::{Breaking, Compatible, Editorial};
        let cases = [
            ("2.0.3", "3.0.0", Some(Breaking), None),
            ("2.0.3", "2.1.0", Some(Breaking), Some("3.0.0")),
            ("2.0.3", "4.1.7", Some(Breaking), None),
            ("2.0.3", "3.0.0-rc.1", Some(Breaking), None),
            ("2.0.3", "2.9.0-rc.1", Some(Breaking), Some("3.0.0")),
            ("3.0.0-rc.1", "3.0.0", Some(Breaking), None),
            ("3.0.0-rc.1", "3.0.0-rc.2", Some(Breaking), None),
            ("2.0.3", "2.1.0", Some(Compatible), None),
            ("2.0.3", "2.0.4", Some(Compatible), Some("2.1.0")),
            ("2.0.3", "2.0.4", Some(Editorial), None),
            ("2.0.3", "2.0.4", None, None),
            ("2.0.3", "2.0.3", Some(Editorial), Some("2.0.4")),
            ("0.3.1", "0.4.0", Some(Breaking), None),
            ("0.3.1", "0.3.2", Some(Breaking), Some("0.4.0")),
            ("0.3.1", "0.3.2", Some(Compatible), None),
            ("0.3.1", "0.3.1", Some(Compatible), Some("0.3.2")),
            // Going back is no release.
            ("2.1.0", "2.0.3", Some(Breaking), None),
        ];
        for (from, to, effect, expected) in cases {
            let version = |text: &str| Version::parse(text).unwrap();
            let numbering = Numbering::of(version(from), version(to), effect);
            let found = numbering.too_low().map(ToString::to_string);
            assert_eq!(found.as_deref(), expected, "{from} → {to}, {effect:?}");
        }
    }

    #[test]
    fn the_same_number_fits_the_same_content() {
        let same = Version::new(1, 0, 0);
        assert_eq!(Numbering::of(same.clone(), same, None).too_low(), None);
    }

    #[test]
    fn the_version_before_is_the_highest_release_below() {
        let versions = ["1.0.0", "2.0.0", "2.1.0-rc.1", "2.1.0", "10.0.0"];
        let before = |of: &str| {
            let all = versions.map(|text| (Version::parse(text).unwrap(), text));
            predecessor(&Version::parse(of).unwrap(), all)
        };
        let found = ["1.0.0", "1.1.0", "2.1.0", "3.0.0", "11.0.0"].map(before);
        assert_eq!(
            found,
            [None, Some("1.0.0"), Some("2.0.0"), Some("2.1.0"), Some("10.0.0")]
        );
    }
}
