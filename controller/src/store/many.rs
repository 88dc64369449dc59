//! Several rows by one statement: a way to the database and back costs more than a row.

use std::collections::BTreeSet;

use sqlx::{Any, AnyConnection, AssertSqlSafe, any::AnyArguments, query::Query};

/// Rows that one statement writes: few different numbers, so that the databases know the statements again.
const AT_ONCE: [usize; 4] = [64, 16, 4, 1];

/// A statement whose places are being filled.
pub(super) type Filling<'q> = Query<'q, Any, AnyArguments>;

/// Executes `{before} (…), (…) {after}` with one row of `columns` places for each item, in as few parts as there may be.
pub(super) async fn execute<'q, T>(
    connection: &mut AnyConnection,
    (before, columns, after): (&str, usize, &str),
    items: &'q [T],
    fill: impl Fn(Filling<'q>, &'q T) -> Filling<'q>,
) -> Result<(), sqlx::Error> {
    for part in parts(items) {
        let statement = format!("{before} {} {after}", places(part.len(), columns));
        let query = sqlx::query(AssertSqlSafe(statement));
        part.iter()
            .fold(query, &fill)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Cuts items into parts of which each is as long as a statement may be.
fn parts<T>(mut items: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let length = AT_ONCE.into_iter().find(|length| *length <= items.len())?;
        let (part, rest) = items.split_at(length);
        items = rest;
        Some(part)
    })
}

/// `($1, $2), ($3, $4)`.
fn places(rows: usize, columns: usize) -> String {
    let row = |row: usize| {
        let places: Vec<String> = (1..=columns)
            .map(|column| format!("${}", row * columns + column))
            .collect();
        format!("({})", places.join(", "))
    };
    let rows: Vec<String> = (0..rows).map(row).collect();
    rows.join(", ")
}

/// Cuts items into runs in which no key comes twice: PostgreSQL writes no row twice by one statement.
pub(super) fn runs<T, K: Ord>(items: &[T], key: impl Fn(&T) -> K) -> impl Iterator<Item = &[T]> {
    let mut rest = items;
    std::iter::from_fn(move || {
        let mut seen = BTreeSet::new();
        let length = rest
            .iter()
            .take_while(|item| seen.insert(key(item)))
            .count();
        let (run, after) = rest.split_at(length);
        rest = after;
        (length > 0).then_some(run)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_as_long_as_statements_and_nothing_is_left_out() {
        let items: Vec<usize> = (0..151).collect();

        let lengths: Vec<usize> = parts(&items).map(<[_]>::len).collect();

        assert_eq!(lengths, [64, 64, 16, 4, 1, 1, 1]);
        assert_eq!(parts(&items).flatten().copied().collect::<Vec<_>>(), items);
    }

    #[test]
    fn every_place_has_a_number_of_its_own() {
        assert_eq!(places(2, 3), "($1, $2, $3), ($4, $5, $6)");
    }

    #[test]
    fn a_key_that_comes_again_begins_a_run() {
        let runs: Vec<&[u8]> = runs(&[1, 2, 1, 1, 3], |item| *item).collect();

        assert_eq!(runs, [&[1, 2][..], &[1], &[1, 3]]);
    }
}
