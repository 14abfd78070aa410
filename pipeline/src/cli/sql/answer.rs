//! Rows, as they are shown or stored.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use arrow::array::RecordBatch;
use playhouse_queries::{Params, Session};

use super::layout;
use super::pictures::{Pictures, RawFrames};
use crate::cli::args::Format;
use crate::engine::Error;

/// A statement, and how its answer is wanted.
pub(super) struct Asked<'a> {
    pub(super) session: &'a Session,
    pub(super) sql: &'a str,
    pub(super) params: &'a Params,
    pub(super) format: Format,
    pub(super) raw: &'a RawFrames,
    /// The folder for pictures.
    pub(super) images: Option<&'a Path>,
    /// Rows of a table at most.
    pub(super) rows: Option<usize>,
}

/// What was shown or stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) rows: u64,
    /// There are more rows.
    pub(super) more: bool,
    /// Pictures that are files now.
    pub(super) written: u64,
    /// Values that could not become files.
    pub(super) unknown: u64,
}

impl Answered {
    /// `3 rows`
    pub(super) fn count(&self) -> String {
        format!("{} {}", self.rows, if self.rows == 1 { "row" } else { "rows" })
    }
}

impl Asked<'_> {
    /// Writes the answer as text.
    pub(super) fn print(&self, out: &mut dyn Write) -> Result<Answered> {
        let mut rows = self.session.stream(self.sql, self.params)?;
        let schema = rows.schema();
        let mut pictures = Pictures::new(&schema, self.raw, self.images);
        // Programs get the bytes themselves, unless they are in files now.
        let show = self.format == Format::Table || self.images.is_some();
        let schema = if show { pictures.schema() } else { schema };
        let mut answered = Answered::default();
        match self.format {
            Format::Table | Format::Parquet => {
                let mut batches = vec![RecordBatch::new_empty(schema)];
                while let Some(batch) = rows.next() {
                    let batch = batch?;
                    let room = self.rows.map_or(usize::MAX, |rows| rows - answered.rows as usize);
                    if batch.num_rows() > room {
                        answered.more = true;
                    }
                    let batch = pictures.show(&batch.slice(0, batch.num_rows().min(room)))?;
                    rows.hold(&batch)?;
                    answered.rows += batch.num_rows() as u64;
                    batches.push(batch);
                    if answered.more {
                        break;
                    }
                }
                drop(rows);
                layout::table(out, &batches)?;
            }
            Format::Json => {
                let names = schema.fields().iter().map(|field| field.name());
                if let Some(twice) =
                    names.clone().enumerate().find_map(|(i, name)| names.clone().take(i).find(|n| *n == name))
                {
                    let message = format!("two columns are called `{twice}`, and JSON holds one: name one with `as`");
                    return Err(Error::Usage(message).into());
                }
                let builder = arrow::json::WriterBuilder::new().with_explicit_nulls(true);
                let mut writer = builder.build::<_, arrow::json::writer::LineDelimited>(out);
                for batch in rows {
                    let batch = batch?;
                    let batch = if show { pictures.show(&batch)? } else { batch };
                    answered.rows += batch.num_rows() as u64;
                    writer.write(&batch)?;
                }
                writer.finish()?;
            }
            Format::Csv => {
                if let Some(field) = schema.fields().iter().find(|field| field.data_type().is_nested()) {
                    let message = format!(
                        "column `{}` has parts, which CSV cannot hold: select one, as in {}['bytes'], or use --format json",
                        field.name(),
                        field.name()
                    );
                    return Err(Error::Usage(message).into());
                }
                let mut writer = arrow::csv::WriterBuilder::new().with_header(true).build(out);
                // Without rows there is still a header.
                writer.write(&RecordBatch::new_empty(schema))?;
                for batch in rows {
                    let batch = batch?;
                    let batch = if show { pictures.show(&batch)? } else { batch };
                    answered.rows += batch.num_rows() as u64;
                    writer.write(&batch)?;
                }
            }
        }
        (answered.written, answered.unknown) = (pictures.written, pictures.unknown);
        Ok(answered)
    }

    /// Writes the answer to a file, which appears complete or not at all: an older one stays until then.
    pub(super) fn store(&self, path: &Path) -> Result<Answered> {
        if self.format == Format::Parquet {
            if self.images.is_some() {
                let message = "a Parquet file holds its pictures itself: take --images away, or say \\images alone";
                return Err(Error::Usage(message.to_owned()).into());
            }
            let rows = self.session.write_parquet(self.sql, self.params, path)?;
            return Ok(Answered { rows, ..Answered::default() });
        }
        let about = || format!("cannot write {}", path.display());
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // For whom a file usually is: a temporary one is for its owner alone.
        let usual = Permissions::from_mode(0o666);
        let file =
            tempfile::Builder::new().prefix(".tmp-").permissions(usual).tempfile_in(folder).with_context(about)?;
        let mut out = std::io::BufWriter::new(file);
        // How many rows are shown on a screen is no matter here.
        let answered = Asked { rows: None, ..*self }.print(&mut out)?;
        if self.format == Format::Table {
            writeln!(out, "{}", answered.count())?;
        }
        let file = out.into_inner().with_context(about)?;
        file.as_file().sync_all().with_context(about)?;
        file.persist(path).with_context(about)?;
        Ok(answered)
    }
}

#[cfg(test)]
mod tests {
    use playhouse_queries::SessionOptions;

    use super::*;

    #[test]
    fn a_file_holds_every_row_and_others_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let session = Session::new(&SessionOptions { threads: Some(1), ..SessionOptions::default() }).unwrap();
        let (params, raw) = (Params::new(), RawFrames::default());
        let sql = "select * from (values (1001), (1002), (1003), (1004), (1005)) as v(number) order by 1";
        let asked =
            |format| Asked { session: &session, sql, params: &params, format, raw: &raw, images: None, rows: Some(2) };
        let mut shown = Vec::new();
        let answered = asked(Format::Table).print(&mut shown).unwrap();
        assert_eq!((answered.rows, answered.more), (2, true));
        std::fs::write(folder.path().join("usual"), "").unwrap();
        let mode = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        for (name, format) in [("a.txt", Format::Table), ("a.csv", Format::Csv), ("a.json", Format::Json)] {
            let path = folder.path().join(name);
            let answered = asked(format).store(&path).unwrap();
            assert_eq!((answered.rows, answered.more), (5, false), "{name}");
            let text = std::fs::read_to_string(&path).unwrap();
            assert!((1001..=1005).all(|number| text.contains(&number.to_string())), "{text}");
            assert_eq!(mode(name), mode("usual"), "{name}");
        }
    }
}
