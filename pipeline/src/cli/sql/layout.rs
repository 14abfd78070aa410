//! Rows as a table of text.
//!
//! Every row is laid out twice, once for the widths of the columns and once for its lines: text takes many times the memory of
//! the rows it is made from, so none of it is kept.

use std::io::Write;

use anyhow::Result;
use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use unicode_width::UnicodeWidthStr;

use crate::cli::text::visible;

/// Writes rows with a border. Control characters are shown and not obeyed, but for the line breaks of a value.
pub(super) fn table(out: &mut dyn Write, batches: &[RecordBatch]) -> Result<()> {
    let Some(first) = batches.first() else { return Ok(()) };
    let names: Vec<String> = first.schema().fields().iter().map(|field| visible(field.name())).collect();
    let mut widths: Vec<usize> = names.iter().map(|name| width(name)).collect();
    each_row(batches, |cells| {
        for (widest, cell) in widths.iter_mut().zip(cells) {
            *widest = width(cell).max(*widest);
        }
        Ok(())
    })?;
    border(out, &widths)?;
    row(out, &names, &widths)?;
    border(out, &widths)?;
    each_row(batches, |cells| row(out, cells, &widths))?;
    border(out, &widths)
}

fn each_row(batches: &[RecordBatch], mut each: impl FnMut(&[String]) -> Result<()>) -> Result<()> {
    let options = FormatOptions::default();
    let mut cells = Vec::new();
    for batch in batches {
        let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            cells.clear();
            for column in &columns {
                cells.push(cut(&column.value(row).try_to_string()?));
            }
            each(&cells)?;
        }
    }
    Ok(())
}

/// Characters of a cell that are shown: nobody reads more in a table, and borders would be as wide.
const CELL: usize = 10_000;

/// A cell's text as it can be shown.
fn cut(text: &str) -> String {
    match text.char_indices().nth(CELL) {
        Some((end, _)) => format!("{}… ({} bytes; --format json has them)", visible(&text[..end]), text.len()),
        None => visible(text),
    }
}

/// Columns of the screen that the widest line of a cell takes.
fn width(cell: &str) -> usize {
    cell.lines().map(UnicodeWidthStr::width).max().unwrap_or(0)
}

fn border(out: &mut dyn Write, widths: &[usize]) -> Result<()> {
    for width in widths {
        write!(out, "+{}", "-".repeat(width + 2))?;
    }
    Ok(writeln!(out, "+")?)
}

/// As many lines as the cell with the most has.
fn row(out: &mut dyn Write, cells: &[String], widths: &[usize]) -> Result<()> {
    let lines = cells.iter().map(|cell| cell.lines().count()).max().unwrap_or(0).max(1);
    for line in 0..lines {
        for (cell, width) in cells.iter().zip(widths) {
            let text = cell.lines().nth(line).unwrap_or_default();
            write!(out, "| {text}{} ", " ".repeat(width - text.width()))?;
        }
        writeln!(out, "|")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
    use playhouse_queries::Session;

    use super::*;

    fn laid_out(batches: &[RecordBatch]) -> String {
        let mut out = Vec::new();
        table(&mut out, batches).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn tables_look_like_arrows() {
        let text: ArrayRef = Arc::new(StringArray::from(vec![Some("a\nlonger\nb"), None, Some("日本"), Some("")]));
        let number: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(-20), None, Some(4)]));
        let float: ArrayRef = Arc::new(Float64Array::from(vec![0.5, 1.0, f64::NAN, 1e300]));
        let batch = RecordBatch::try_from_iter([("text", text), ("a rather long name", number), ("f", float)]).unwrap();
        let batches = [batch.slice(0, 0), batch.slice(0, 1), batch.slice(1, 3)];
        assert_eq!(laid_out(&batches), format!("{}\n", Session::format_table(&batches).unwrap()));
        let empty = [batch.slice(0, 0)];
        assert_eq!(laid_out(&empty), format!("{}\n", Session::format_table(&empty).unwrap()));
    }

    #[test]
    fn a_cell_that_nobody_would_read_is_cut() {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["é".repeat(CELL), "é".repeat(CELL + 1)]));
        let shown = laid_out(&[RecordBatch::try_from_iter([("c", text)]).unwrap()]);
        let long: Vec<&str> = shown.lines().filter(|line| line.contains('é')).collect();
        assert!(!long[0].contains('…') && long[1].contains("… (20002 bytes; --format json has them)"), "{}", long[1]);
        assert!(long.iter().all(|line| line.matches('é').count() == CELL));
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["\u{1b}[31mred"]));
        let shown = laid_out(&[RecordBatch::try_from_iter([("c", text)]).unwrap()]);
        assert_eq!(
            shown,
            "+---------------+\n| c             |\n+---------------+\n| \\u{1b}[31mred |\n+---------------+\n"
        );
    }
}
