//! Chance that repeats itself.

use jiff::civil::Date;

use super::super::value::Value;

/// SplitMix64: the same numbers from the same seed.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: u32) -> u32 {
        u32::try_from(self.next() % u64::from(limit)).unwrap_or_default()
    }

    pub fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let place = self.next() % (from.len() as u64);
        from[usize::try_from(place).unwrap_or_default()]
    }

    /// An amount with two decimals.
    pub fn cents(&mut self, limit: u64) -> f64 {
        let cents = u32::try_from(self.next() % limit.min(u64::from(u32::MAX))).unwrap_or_default();
        f64::from(cents) / 100.0
    }

    pub fn digits(&mut self, pattern: &str) -> String {
        let digit = |character| {
            if character == '#' {
                char::from(b'0' + self.below(10) as u8)
            } else {
                character
            }
        };
        pattern.chars().map(digit).collect()
    }

    pub fn date(&mut self, from_year: i16, years: u32) -> Value {
        let year = from_year + i16::try_from(self.below(years)).unwrap_or_default();
        let (month, day) = (self.below(12) + 1, self.below(28) + 1);
        let small = |number: u32| i8::try_from(number).unwrap_or(1);
        Date::new(year, small(month), small(day)).map_or(Value::Null, Value::Date)
    }

    /// In 2024 or 2025.
    pub fn instant(&mut self) -> Value {
        Value::DateTime(1_704_067_200_000 + i64::from(self.below(63_072_000)) * 1000)
    }
}
