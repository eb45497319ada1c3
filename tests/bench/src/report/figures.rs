//! Medians, ranges, and how they are written.

use crate::{
    measure::Cost,
    results::{Measured, Step},
};

/// Gives the value in the middle; of an even number, the mean of the two in the middle.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// Gives the median of a figure of a peer's step; none if the peer was not measured.
pub(super) fn of(measured: &Measured, peer: &str, step: Step, figure: fn(&Cost) -> f64) -> Option<f64> {
    median(measured.peers.get(peer)?.get(&step)?.iter().map(figure))
}

/// Writes the smallest and the largest value.
pub(crate) fn range(values: impl Iterator<Item = f64> + Clone) -> String {
    let (least, most) = (values.clone().fold(f64::INFINITY, f64::min), values.fold(0.0, f64::max));
    format!("{}–{}", short(least), short(most))
}

/// Writes a number with two digits after the point, or as many as make sense.
pub(super) fn short(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// Writes bytes in MB, 10^6 bytes.
pub(super) fn megabytes(bytes: f64) -> String {
    short(bytes / 1e6)
}

/// Writes KiB in MiB.
pub(super) fn mebibytes(kib: f64) -> String {
    format!("{:.0}", kib / 1024.0)
}

#[expect(clippy::cast_precision_loss, reason = "sizes of trees are far below 2^52")]
pub(super) fn float(value: u64) -> f64 {
    value as f64
}

/// Writes a whole number with a comma between thousands.
pub(super) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert_eq!(median([4.0, 1.0, 3.0, 2.0].into_iter()), Some(2.5));
        assert_eq!(median([5.0, 1.0, 3.0].into_iter()), Some(3.0));
        assert_eq!(median(std::iter::empty()), None);
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([grouped(7), grouped(1_000), grouped(1_234_567)], ["7", "1,000", "1,234,567"]);
    }
}
