//! Durations as text for people: `250ms`, `8s`. Exact, and nothing but whole numbers.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// Units, the largest first, in nanoseconds.
const UNITS: [(&str, u64); 4] = [
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// In the largest unit of which it is a whole number.
pub fn text(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let unit = UNITS
        .iter()
        .find(|(_, len)| nanos.is_multiple_of(u128::from(*len)));
    let (name, len) = unit.expect("invariant: all durations are whole nanoseconds");
    format!("{}{name}", nanos / u128::from(*len))
}

/// Reads what [`text`] writes.
pub fn parse(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, name) = text.split_at(end);
    let (_, len) = UNITS.iter().find(|(unit, _)| *unit == name)?;
    let nanos = number.parse::<u64>().ok()?.checked_mul(*len)?;
    Some(Duration::from_nanos(nanos))
}

pub fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&text(*duration))
}

pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    let allowed = || Error::custom(format!("{text:?} is no time: allowed are 250ms, 8s, 40us"));
    parse(&text).ok_or_else(allowed)
}

/// A duration that may be left out.
pub mod option {
    use std::time::Duration;

    use serde::{Deserializer, Serializer};

    pub fn serialize<S: Serializer>(duration: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::serialize(duration, to),
            None => to.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        super::deserialize(from).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn people_can_read_it() {
        let texts = [0, 1, 1_500, 250_000_000, 8_000_000_000].map(Duration::from_nanos);
        assert_eq!(texts.map(text), ["0s", "1ns", "1500ns", "250ms", "8s"]);
    }

    #[test]
    fn what_is_no_time_is_not_read() {
        for text in [
            "",
            "8",
            "s",
            "-1s",
            "1.5s",
            "1 s",
            "1h",
            "99999999999999999999ms",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse("18446744073709551615s"), None, "it is too long");
    }

    proptest! {
        #[test]
        fn it_is_read_as_it_was_written(nanos: u64) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse(&text(duration)), Some(duration));
        }
    }
}
