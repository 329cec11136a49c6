//! Dates as people write them, and as ISO 8601 does: `Saturday, 9 March 1974` is `1974-03-09`.
//!
//! Years are from 1900 to 2099. A day of the week is that of the date: the calendar is Gregorian throughout.

use super::draws::Draws;
use super::record::{Record, Value};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
/// Ways to write a date.
const FORMS: usize = 10;

/// `source`: a date in one of many forms, `target`: the same in ISO form.
pub(super) fn example(draws: &mut Draws) -> Record {
    let year = 1900 + draws.below(200);
    let month = 1 + draws.below(12);
    let day = 1 + draws.below(days_of(year, month));
    let name = MONTHS[month - 1];
    let short = &name[..3];
    let week = DAYS[weekday(year, month, day)];
    let text = match draws.below(FORMS) {
        0 => format!("{day} {name} {year}"),
        1 => format!("{name} {day}, {year}"),
        2 => format!("{week}, {day} {name} {year}"),
        3 => format!("{week}, {name} {}, {year}", ordinal(day)),
        4 => format!("{day} {short} {year}"),
        5 => format!("{short} {day}, {year}"),
        6 => format!("the {} of {name} {year}", ordinal(day)),
        7 => format!("{day}.{month}.{year}"),
        8 => format!("{day:02}/{month:02}/{year}"),
        _ => format!("{} {} {year}", short.to_uppercase(), ordinal(day)),
    };
    let iso = format!("{year}-{month:02}-{day:02}");
    Record::new([("source", Value::Text(text)), ("target", Value::Text(iso))])
}

fn days_of(year: usize, month: usize) -> usize {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The day of the week, 0 for Sunday: Sakamoto's method (1992).
fn weekday(year: usize, month: usize, day: usize) -> usize {
    const SHIFTS: [usize; 12] = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4];
    let year = if month < 3 { year - 1 } else { year };
    (year + year / 4 - year / 100 + year / 400 + SHIFTS[month - 1] + day) % 7
}

fn ordinal(day: usize) -> String {
    let ending = match (day % 10, day) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{day}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_the_week_are_known() {
        let of = |year, month, day| DAYS[weekday(year, month, day)];
        assert_eq!((of(1969, 7, 20), of(2000, 2, 29), of(1900, 1, 1)), ("Sunday", "Tuesday", "Monday"));
        let ordinals: Vec<String> = [1, 2, 3, 4, 11, 12, 13, 21, 22, 30].into_iter().map(ordinal).collect();
        assert_eq!(ordinals.join(" "), "1st 2nd 3rd 4th 11th 12th 13th 21st 22nd 30th");
        assert_eq!((days_of(1900, 2), days_of(2000, 2), days_of(2024, 2)), (28, 29, 29));
    }

    #[test]
    fn both_say_the_same_date() {
        for number in 0..300 {
            let record = example(&mut Draws::new(1, number, 0));
            let (source, target) = (record.text("source"), record.text("target"));
            let parts: Vec<usize> = target.split('-').map(|part| part.parse().unwrap()).collect();
            assert!(
                source.contains(&parts[0].to_string()) && source.contains(&parts[2].to_string()),
                "{source}"
            );
            let month = MONTHS[parts[1] - 1];
            let named = source.to_lowercase().contains(&month[..3].to_lowercase());
            assert!(named || source.contains(&format!("{}", parts[1])), "{source} {target}");
        }
    }
}
