//! Record ids: 15 case-sensitive characters, shown with the 3 that make them safe where case is lost.
//!
//! The first three name the object (003 Contact); the last nine count in base 62 with digits in ASCII order (0-9, A-Z,
//! a-z), so that ids ascend as records are created. Ids are compared by their 15 characters, byte for byte: `Id > '…'` in
//! a query and `ORDER BY Id` are case-sensitive, as ids are.
//! <https://developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/field_types.htm#i1435616>

use std::fmt;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const SUFFIX: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId([u8; 15]);

impl RecordId {
    /// The `number`th id of the object with this key prefix.
    pub fn new(prefix: &str, number: u64) -> Self {
        let mut id = *b"0005g0000000000";
        id[..3].copy_from_slice(&prefix.as_bytes()[..3]);
        let mut rest = number;
        for digit in id[6..].iter_mut().rev() {
            *digit = DIGITS[usize::try_from(rest % 62).unwrap_or_default()];
            rest /= 62;
        }
        Self(id)
    }

    /// Reads the 15-character form, or the 18-character one whose last three are right.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let base: [u8; 15] = bytes.get(..15)?.try_into().ok()?;
        let id = Self(base);
        let whole = bytes.len() == 15 || (bytes.len() == 18 && bytes[15..] == id.suffix());
        (whole && base.iter().all(u8::is_ascii_alphanumeric)).then_some(id)
    }

    pub fn prefix(&self) -> &str {
        std::str::from_utf8(&self.0[..3]).unwrap_or_default()
    }

    /// One character for each five of the id: which of them are upper case.
    fn suffix(&self) -> [u8; 3] {
        let mut suffix = [0; 3];
        for (chunk, character) in self.0.chunks(5).zip(&mut suffix) {
            let upper = chunk.iter().enumerate().filter(|(_, byte)| byte.is_ascii_uppercase());
            *character = SUFFIX[upper.fold(0, |bits, (place, _)| bits | 1 << place)];
        }
        suffix
    }

    /// The 18-character form.
    pub fn whole(&self) -> [u8; 18] {
        let mut whole = [0; 18];
        whole[..15].copy_from_slice(&self.0);
        whole[15..].copy_from_slice(&self.suffix());
        whole
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.whole()).unwrap_or_default())
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::RecordId;

    #[test]
    fn the_suffix_is_the_published_one() {
        for whole in [
            "001D000000IRFmaIAH",
            "001D000000IomazIAB",
            "01gD0000002HU6KIAW",
            "a01xx000003DGb2AAG",
        ] {
            let id = RecordId::parse(&whole[..15]).expect("an id");
            assert_eq!(id.to_string(), whole);
            assert_eq!(RecordId::parse(whole), Some(id));
        }
    }

    #[test]
    fn a_wrong_suffix_or_length_is_no_id() {
        for text in [
            "001D000000IRFmaIAX",
            "001D000000IRFm",
            "001D000000IRFmaI",
            "001D000000IRF-a",
            "",
            "Zürich0000000000",
        ] {
            assert_eq!(RecordId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn ids_ascend_with_their_number() {
        let ids: Vec<RecordId> = [0, 1, 9, 10, 35, 36, 61, 62, 63, 3844, 1_000_000]
            .map(|n| RecordId::new("003", n))
            .into();
        assert!(ids.is_sorted());
    }
}
