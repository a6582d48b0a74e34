//! CSV rows as messages: JSON objects, or arrays where there is no header.

use super::args::{Header, Options};
use super::error::{BadRow, InputError, Problem};
use super::feed::Feed;
use super::records::{Fields, Records};
use super::text::Text;
use super::{rows, sniff};
use std::io::Read;

/// Reads `text` to its end.
pub(super) fn read<R: Read>(
    text: &mut Text<R>,
    feed: &mut Feed<'_>,
    options: &Options,
) -> Result<(), InputError> {
    let mut records = Records::new(options.delimiter.unwrap_or(b','));
    records.skip_lines(options.skip_lines, text, feed)?;
    if !records.read(text, feed)? {
        return Ok(());
    }
    let columns = first_row(&mut records, text, feed)?;
    if let ([column], None) = (columns.as_slice(), options.delimiter)
        && let Some(delimiter) = sniff::delimiter(&records.take_first())
    {
        let (name, column) = (feed.name().to_owned(), column.clone());
        return Err(InputError::OtherDelimiter {
            name,
            column,
            delimiter,
        });
    }
    drop(records.take_first());
    let expected = columns.len();
    let keys = match options.header {
        Header::None => None,
        Header::MadeUnique => Some(rows::unique_columns(columns)),
        Header::AsItIs => {
            if let Some(column) = rows::repeated_column(&columns) {
                let (name, column) = (feed.name().to_owned(), column.to_owned());
                return Err(InputError::RepeatedColumn { name, column });
            }
            Some(columns)
        }
    };
    let mut message = Vec::new();
    // Without a header the first row is a message like the others.
    let mut more = keys.is_none() || records.read(text, feed)?;
    while more {
        let fields = records.fields();
        message.clear();
        match records.too_large().or_else(|| problem_of(fields, expected)) {
            Some(problem) => feed.bad_row(fields.line(), problem)?,
            None => match fields.as_text() {
                Some(values) => {
                    rows::write(&mut message, keys.as_deref(), values)
                        .map_err(|source| feed.failed(source))?;
                    feed.push(&message, fields.line())?;
                }
                None => feed.bad_row(fields.line(), Problem::NotEncoded(text.encoding()))?,
            },
        }
        more = records.read(text, feed)?;
    }
    Ok(())
}

/// The first row, by which all others are measured. So it cannot be left out.
fn first_row<R: Read>(
    records: &mut Records,
    text: &Text<R>,
    feed: &Feed<'_>,
) -> Result<Vec<String>, InputError> {
    let fields = records.fields();
    let problem = match (records.too_large(), fields.as_text()) {
        (None, Some(values)) => return Ok(values.map(str::to_owned).collect()),
        (Some(problem), _) => problem,
        (None, None) => Problem::NotEncoded(text.encoding()),
    };
    let line = fields.line();
    Err(InputError::Header {
        name: feed.name().to_owned(),
        bad_row: BadRow { line, problem },
    })
}

fn problem_of(fields: &Fields, expected: usize) -> Option<Problem> {
    let found = fields.count();
    (found != expected).then_some(Problem::Fields { found, expected })
}
