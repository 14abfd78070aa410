//! Pictures in answers: shown as what they are, and written as files.
//!
//! ```text
//!   image struct{bytes, path}     jpeg 128x128, 5.6 kB      --images DIR: DIR/000012-000345.jpg
//!   bytes of any binary column    png 64x64, 812 B                        (episode_id, t, or a running number)
//! ```

use std::cell::OnceCell;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use playhouse_schemas::{Codec, Dataset, FrameSpec, Picture};

use crate::cli::text::bytes as size;

/// Bytes of a value that is no picture are shown one by one up to here.
const SHORT: usize = 32;

/// What raw frames of the known datasets are: their bytes alone do not say.
#[derive(Debug, Default)]
pub(super) struct RawFrames {
    /// Dataset folders.
    roots: Vec<PathBuf>,
    specs: OnceCell<Vec<FrameSpec>>,
}

impl RawFrames {
    pub(super) fn of(roots: Vec<PathBuf>) -> Self {
        Self { roots, specs: OnceCell::new() }
    }

    /// The spec of raw frames with as many bytes; none if no dataset has such, or two of different shape do.
    fn with_bytes(&self, bytes: usize) -> Option<&FrameSpec> {
        let specs = self.specs.get_or_init(|| {
            // A dataset that cannot be opened has been complained about when it was registered.
            let specs = self.roots.iter().filter_map(|root| Dataset::open(root).ok()?.spec().frames.clone());
            specs.filter(|spec| spec.codec == Codec::Raw).collect()
        });
        let mut found = specs.iter().filter(|spec| spec.bytes() == bytes);
        let first = found.next()?;
        found.all(|other| other.width == first.width).then_some(first)
    }
}

/// How a column is shown.
enum Shown {
    /// As it is.
    AsIs,
    /// Its values are bytes.
    Bytes,
    /// Its values are `{bytes, path}`.
    Image,
}

/// Shows the pictures in the batches of one answer.
pub(super) struct Pictures<'a> {
    columns: Vec<Shown>,
    schema: SchemaRef,
    raw: &'a RawFrames,
    folder: Option<&'a Path>,
    /// Rows so far.
    row: u64,
    /// Pictures that are files now.
    pub(super) written: u64,
    /// Values that could not become files, for it is not known what they show.
    pub(super) unknown: u64,
}

impl<'a> Pictures<'a> {
    /// For an answer with these columns; pictures go to `folder` if there is one.
    pub(super) fn new(schema: &Schema, raw: &'a RawFrames, folder: Option<&'a Path>) -> Self {
        let columns: Vec<Shown> = schema.fields().iter().map(|field| shown(field.data_type())).collect();
        let fields = schema.fields().iter().zip(&columns).map(|(field, shown)| match shown {
            Shown::AsIs => Arc::clone(field),
            _ => Arc::new(Field::new(field.name(), DataType::Utf8, true)),
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Self { columns, schema, raw, folder, row: 0, written: 0, unknown: 0 }
    }

    /// The columns as they are shown.
    pub(super) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// `batch` with pictures as text: where they were written, or what they are.
    pub(super) fn show(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let first_row = self.row;
        self.row += batch.num_rows() as u64;
        if self.columns.iter().all(|shown| matches!(shown, Shown::AsIs)) {
            return Ok(batch.clone());
        }
        let names = if self.folder.is_some() { Some(Names::of(batch, first_row, &self.columns)?) } else { None };
        let mut columns = Vec::with_capacity(batch.num_columns());
        for index in 0..batch.num_columns() {
            let column = batch.column(index);
            let cells: Cells = match self.columns[index] {
                Shown::AsIs => {
                    columns.push(Arc::clone(column));
                    continue;
                }
                Shown::Bytes => Cells { bytes: binary(column)?, paths: None, nulls: Arc::clone(column) },
                Shown::Image => {
                    let parts = column.as_struct();
                    let part = |name| parts.column_by_name(name);
                    let bytes = binary(part("bytes").context("an image without bytes")?)?;
                    let paths = part("path").map(|paths| cast(paths, &DataType::Utf8)).transpose()?;
                    Cells { bytes, paths, nulls: Arc::clone(column) }
                }
            };
            let mut texts = Vec::with_capacity(batch.num_rows());
            for row in 0..batch.num_rows() {
                let name = |extension: &str| names.as_ref().map(|names| names.file(row, index, extension));
                texts.push(self.cell(&cells, row, name)?);
            }
            columns.push(Arc::new(StringArray::from(texts)) as ArrayRef);
        }
        Ok(RecordBatch::try_new(self.schema(), columns)?)
    }

    fn cell(&mut self, cells: &Cells, row: usize, name: impl Fn(&str) -> Option<String>) -> Result<Option<String>> {
        if cells.nulls.is_null(row) {
            return Ok(None);
        }
        if cells.bytes.is_null(row) {
            let paths = cells.paths.as_ref().map(|paths| paths.as_string::<i32>());
            return Ok(paths.filter(|paths| paths.is_valid(row)).map(|paths| paths.value(row).to_owned()));
        }
        let bytes = cells.bytes.value(row);
        let raw = self.raw;
        let known = Picture::of(bytes);
        let spec = if known.is_none() { raw.with_bytes(bytes.len()) } else { None };
        let file = match (self.folder, known, spec) {
            (None, _, _) => None,
            (Some(_), None, None) => {
                self.unknown += u64::from(bytes.len() > SHORT);
                None
            }
            (Some(folder), Some(picture), _) => {
                let save = |name: String| save(folder, &name, &picture.viewable(bytes)?);
                name(picture.kind.extension()).map(save).transpose()?
            }
            (Some(folder), None, Some(spec)) => {
                let png = FrameSpec { codec: Codec::Png, ..spec.clone() }.encode(bytes)?;
                name("png").map(|name| save(folder, &name, &png)).transpose()?
            }
        };
        Ok(Some(match (file, known, spec) {
            (Some(file), _, _) => {
                self.written += 1;
                file.display().to_string()
            }
            (None, Some(Picture { kind, width, height }), _) => {
                format!("{} {width}x{height}, {}", kind.name(), size(bytes.len() as u64))
            }
            (None, None, Some(spec)) => format!("raw {}x{}, {}", spec.width, spec.height, size(bytes.len() as u64)),
            (None, None, None) if bytes.len() <= SHORT => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            (None, None, None) => format!("binary, {}", size(bytes.len() as u64)),
        }))
    }
}

/// The values of a column of pictures.
struct Cells {
    bytes: BinaryArray,
    paths: Option<ArrayRef>,
    /// The column itself, whose nulls hide what is in its parts.
    nulls: ArrayRef,
}

fn shown(data_type: &DataType) -> Shown {
    let is_binary = |data_type: &DataType| {
        use DataType::{Binary, BinaryView, FixedSizeBinary, LargeBinary};
        matches!(data_type, Binary | LargeBinary | BinaryView | FixedSizeBinary(_))
    };
    match data_type {
        DataType::Struct(parts) => match parts.find("bytes") {
            Some((_, part)) if is_binary(part.data_type()) => Shown::Image,
            _ => Shown::AsIs,
        },
        other if is_binary(other) => Shown::Bytes,
        _ => Shown::AsIs,
    }
}

fn binary(column: &ArrayRef) -> Result<BinaryArray> {
    Ok(match column.as_binary_opt::<i32>() {
        Some(bytes) => bytes.clone(),
        None => cast(column, &DataType::Binary)?.as_binary::<i32>().clone(),
    })
}

/// The names of files for the pictures of a batch.
struct Names<'a> {
    /// `episode_id` and `t` as text, where they were selected.
    keys: Vec<Option<Vec<String>>>,
    first_row: u64,
    /// The column's name, where there is more than one of pictures.
    columns: Vec<Option<&'a str>>,
}

impl<'a> Names<'a> {
    fn of(batch: &'a RecordBatch, first_row: u64, shown: &[Shown]) -> Result<Self> {
        let schema = batch.schema_ref();
        let mut keys = Vec::new();
        for name in ["episode_id", "t"] {
            let column = batch.column_by_name(name).filter(|column| {
                let data_type = column.data_type();
                data_type.is_integer() || matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
            });
            keys.push(column.map(texts).transpose()?);
        }
        let several = shown.iter().filter(|shown| !matches!(shown, Shown::AsIs)).count() > 1;
        let columns = schema.fields().iter().map(|field| several.then_some(field.name().as_str())).collect();
        Ok(Self { keys, first_row, columns })
    }

    /// `000012-000345.jpg`: only letters, digits, `_` and `-`, whatever the values are.
    fn file(&self, row: usize, column: usize, extension: &str) -> String {
        let number = (self.first_row + row as u64 + 1).to_string();
        let key = |index: usize| self.keys[index].as_ref().map(|texts| tame(&texts[row]));
        let mut name = match (key(0), key(1)) {
            (Some(episode), Some(t)) => format!("{episode}-{t}"),
            (Some(episode), None) => format!("{episode}-row{}", tame(&number)),
            (None, _) => format!("row{}", tame(&number)),
        };
        if let Some(column) = self.columns[column] {
            name = format!("{name}-{}", tame(column));
        }
        format!("{name}.{extension}")
    }
}

fn texts(column: &ArrayRef) -> Result<Vec<String>> {
    let options = FormatOptions::default().with_null("null");
    let formatter = ArrayFormatter::try_new(column, &options)?;
    Ok((0..column.len()).map(|row| formatter.value(row).to_string()).collect())
}

/// A part of a file's name: numbers of six digits, so that names sort as they do; anything else without the characters
/// that a path or a shell could take for something.
fn tame(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    let text: String = text.chars().take(80).map(plain).collect();
    match text.bytes().all(|b| b.is_ascii_digit()) {
        _ if text.is_empty() => "_".to_owned(),
        true => format!("{text:0>6}"),
        false => text,
    }
}

/// Writes a picture into `folder` and says where. A file that is there is never changed: one with the same bytes is the
/// picture already, beside another one the name gets a number.
fn save(folder: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let mut path = folder.join(name);
    for number in 2_u32.. {
        match create(&path, bytes) {
            Ok(()) => return Ok(path),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                if fs::read(&path).is_ok_and(|there| there == bytes) {
                    return Ok(path);
                }
                path = folder.join(format!("{stem}-{number}.{extension}"));
            }
            Err(e) => return Err(e).with_context(|| format!("cannot write the picture {}", path.display())),
        }
    }
    Ok(path)
}

fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes).inspect_err(|_| {
        // Half a picture would keep its name from the whole one.
        let _ = fs::remove_file(path);
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StructArray};

    use super::*;

    fn jpeg(value: u8) -> Vec<u8> {
        FrameSpec { width: 16, height: 8, ..FrameSpec::default() }.encode(&vec![value; 16 * 8 * 3]).unwrap()
    }

    /// Columns episode_id, t and image.
    fn batch(episodes: ArrayRef, t: Vec<i64>, images: Vec<Option<Vec<u8>>>) -> RecordBatch {
        let bytes: ArrayRef = Arc::new(BinaryArray::from_iter(images));
        let paths: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>; t.len()]));
        let image = StructArray::from(vec![
            (Arc::new(Field::new("bytes", DataType::Binary, true)), bytes),
            (Arc::new(Field::new("path", DataType::Utf8, true)), paths),
        ]);
        RecordBatch::try_from_iter([
            ("episode_id", episodes),
            ("t", Arc::new(Int64Array::from(t)) as ArrayRef),
            ("image", Arc::new(image) as ArrayRef),
        ])
        .unwrap()
    }

    fn shown(batch: &RecordBatch, folder: Option<&Path>) -> Vec<String> {
        let raw = RawFrames::default();
        let mut pictures = Pictures::new(&batch.schema(), &raw, folder);
        let shown = pictures.show(batch).unwrap();
        let cells = shown.column(2).as_string::<i32>();
        cells.iter().map(|cell| cell.unwrap_or("null").to_owned()).collect()
    }

    #[test]
    fn pictures_say_what_they_are() {
        let ids = Arc::new(Int64Array::from(vec![1; 4]));
        let images = vec![Some(jpeg(9)), Some(vec![1, 255]), Some(vec![7; 1500]), None];
        let cells = shown(&batch(ids, vec![0, 1, 2, 3], images), None);
        assert_eq!(cells, [&format!("jpeg 16x8, {} B", jpeg(9).len()), "01ff", "binary, 1.5 kB", "null"]);
    }

    #[test]
    fn files_are_named_after_the_row_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let ids = || Arc::new(Int64Array::from(vec![12, 12])) as ArrayRef;
        let name = |name: &str| folder.path().join(name).display().to_string();
        let first = batch(ids(), vec![3, 4], vec![Some(jpeg(9)), Some(jpeg(10))]);
        for _ in 0..2 {
            assert_eq!(shown(&first, Some(folder.path())), [name("000012-000003.jpg"), name("000012-000004.jpg")]);
        }
        let other = batch(ids(), vec![3, 3], vec![Some(jpeg(200)), Some(jpeg(100))]);
        assert_eq!(shown(&other, Some(folder.path())), [name("000012-000003-2.jpg"), name("000012-000003-3.jpg")]);
        assert_eq!(fs::read(name("000012-000003.jpg")).unwrap(), jpeg(9));
        assert_eq!(fs::read(name("000012-000003-2.jpg")).unwrap(), jpeg(200));
    }

    #[test]
    fn hostile_values_stay_in_the_folder() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("in");
        let hostile = ["../../etc/passwd", "/tmp/x", "a\0b", "", ".", "-rf", &"x".repeat(500)];
        let ids = Arc::new(StringArray::from(hostile.to_vec()));
        let count = hostile.len();
        let images = (0..count).map(|i| Some(jpeg(i as u8 * 9))).collect();
        shown(&batch(ids, vec![0; count], images), Some(&folder));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), count);
        assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 1);
        for entry in fs::read_dir(&folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(!name.starts_with(['-', '.']), "{name}");
        }
    }

    #[test]
    fn raw_frames_become_png_where_their_size_is_known() {
        let raw = RawFrames::default();
        let spec = FrameSpec { width: 16, height: 8, codec: Codec::Raw, resize: None };
        raw.specs.set(vec![spec.clone()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let ids = Arc::new(Int64Array::from(vec![1, 1]));
        let batch = batch(ids, vec![0, 1], vec![Some(vec![5; spec.bytes()]), Some(vec![5; spec.bytes() + 1])]);
        let mut pictures = Pictures::new(&batch.schema(), &raw, Some(folder.path()));
        let shown = pictures.show(&batch).unwrap();
        assert!(shown.column(2).as_string::<i32>().value(0).ends_with("000001-000000.png"));
        assert_eq!((pictures.written, pictures.unknown), (1, 1));
        let written = fs::read(folder.path().join("000001-000000.png")).unwrap();
        let mut pixels = vec![0; spec.bytes()];
        FrameSpec { codec: Codec::Png, ..spec }.decode_into(&written, &mut pixels).unwrap();
        assert_eq!(pixels, vec![5; pixels.len()]);
    }
}
