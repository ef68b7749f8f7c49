//! The order of classes that are grades.

use std::collections::HashSet;

use super::TableOptions;
use super::decimal::Decimal;
use super::natural::natural;
use crate::error::Error;
use crate::said::list;

/// Puts the classes that were found in order, from the lowest to the highest: as [`TableOptions::order`] names them, or by
/// number where all are numbers, or else by name.
pub(super) fn ordered(
    found: Vec<String>,
    options: &TableOptions,
    decimal: Decimal,
) -> Result<Vec<String>, Error> {
    let Some(order) = &options.order else {
        return Ok(by_number(&found, decimal).unwrap_or_else(|| {
            let mut names = found;
            names.sort_by(|a, b| natural(a, b));
            names
        }));
    };
    let (given, there): (HashSet<&String>, HashSet<&String>) =
        (order.iter().collect(), found.iter().collect());
    if given == there {
        return Ok(order.clone());
    }
    let mut names = found.clone();
    names.sort_by(|a, b| natural(a, b));
    Err(Error::InvalidOption {
        option: "order of the classes",
        reason: format!(
            "{} is given, and the training pictures have {}; name each of these classes, from the lowest to the highest",
            list(order),
            list(&names)
        ),
    })
}

/// Says that classes which are no numbers are ordered by name, where nobody gave an order.
pub(super) fn hint(classes: &[String], options: &TableOptions, decimal: Decimal) -> Option<String> {
    let is_known = options.order.is_some() || options.classes.is_some();
    (!is_known && by_number(classes, decimal).is_none()).then(|| {
        "they are ordered by name, as they are no numbers; --ordinal=LOWEST,..,HIGHEST gives another order"
            .to_string()
    })
}

/// The names in the order of their numbers, of equal ones in that of their characters; none where one is no number.
fn by_number(names: &[String], decimal: Decimal) -> Option<Vec<String>> {
    let number = |name: &String| decimal.number::<f64>(name.trim());
    let mut numbered: Vec<(f64, &String)> = names
        .iter()
        .map(|name| Some((number(name)?, name)))
        .collect::<Option<_>>()?;
    numbered.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1)));
    Some(numbered.into_iter().map(|(_, name)| name.clone()).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn named(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn numbers_come_by_number_and_words_by_name() {
        let plain = TableOptions::default();
        for (found, expected) in [
            (["10", "9", "-1", "-2"], ["-2", "-1", "9", "10"]),
            (["1.5", "1.25", "01", "1e1"], ["01", "1.25", "1.5", "1e1"]),
            (
                ["grade 10", "grade 9", "b", "a"],
                ["a", "b", "grade 9", "grade 10"],
            ),
            (["2", "10", "nan", "1"], ["1", "2", "10", "nan"]),
        ] {
            assert_eq!(
                ordered(named(&found), &plain, Decimal::Point).unwrap(),
                named(&expected)
            );
        }
        let commas = named(&["1,5", "10", "1,25"]);
        let found = ordered(commas.clone(), &plain, Decimal::Comma).unwrap();
        assert_eq!(found, named(&["1,25", "1,5", "10"]));
        assert_eq!(hint(&commas, &plain, Decimal::Comma), None);
        assert_eq!(hint(&named(&["1", "2.5"]), &plain, Decimal::Point), None);
        assert!(hint(&named(&["1", "low"]), &plain, Decimal::Point).is_some());
    }

    #[test]
    fn an_order_names_each_class_once() {
        let of = |order: &[&str]| TableOptions {
            order: Some(named(order)),
            ..TableOptions::default()
        };
        let found = || named(&["half", "ripe", "unripe"]);
        let order = ["unripe", "half", "ripe"];
        assert_eq!(
            ordered(found(), &of(&order), Decimal::Point).unwrap(),
            named(&order)
        );
        assert_eq!(hint(&found(), &of(&order), Decimal::Point), None);
        for wrong in [
            &["unripe", "ripe"][..],
            &["unripe", "half", "ripe", "rotten"],
        ] {
            let said = ordered(found(), &of(wrong), Decimal::Point)
                .unwrap_err()
                .to_string();
            assert!(said.contains(&wrong.join(", ")), "{said}");
            assert!(said.contains("half, ripe, unripe"), "{said}");
        }
    }
}
