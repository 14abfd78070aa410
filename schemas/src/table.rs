//! The three tables of a dataset: folders, columns, and how each column is laid out in Parquet.
//!
//! ```text
//! episodes   one row an episode   zstd pages, strings as dictionaries
//! steps      one row a step       zstd pages of 32,768 rows, one row group up to 1,048,576 rows
//!              buttons PLAIN (bitmaps), packed buttons, sticks and ids dictionary, t delta,
//!              telemetry byte-stream-split, or dictionary where a column repeats a few values
//! frames     one row a step       pages of 32 rows (codec `fast`: 8), image bytes PLAIN and uncompressed: they are packed already
//! ```
//!
//! A training window is 32 steps, so its images lie in at most two pages, and its actions in one or two pages a column.
//! Every reader of Parquet knows these encodings; there is no extension type.
//!
//! The layout of `steps` was chosen on 2^20 rows of gamepad play in which a button or stick is held for 4 to 9 steps, read
//! by the parquet crate on one core (Zen 5). Bytes and nanoseconds a row; a window is 32 rows of `buttons` and four sticks:
//!
//! ```text
//! page rows              file    12 buttons   `buttons`     4 sticks      window, and with its 8,192 rows
//!   8,192                8.3 B   25 ns        6.2 ns        18 ns         118 us, 255 us
//!  20,000                7.9     22           5.9           16.5          162     310
//!  32,768 (chosen)       7.8     21           5.7           16.5          218     353
//!  65,536                7.6     20           5.4           15.4          321     482
//!
//! at 65,536 rows         bytes and ns of the columns in question
//!   buttons PLAIN        zstd 0.25 B, 20 ns (chosen: the smallest)   none 1.5 B, 21-23 ns      RLE zstd 0.26 B, 16 ns
//!   sticks dictionary    zstd 0.87 B, 15 ns (chosen)   snappy 1.16 B, 15 ns   none 1.32 B, 14 ns   delta zstd 1.14 B, 12 ns
//!   pos_x and pos_y      split zstd 4.9 B, 5.1 ns (chosen)   PLAIN none 8.0 B, 2.1 ns   PLAIN zstd 7.2 B, 10 ns
//!   pos_z of 600 values  dictionary zstd 1.2 B, 4.5 ns (chosen)   split zstd 2.5 B, 7 ns
//!   episode_id           dictionary 0.5 ns (chosen)   delta 1.0 ns
//!   all                  zstd 7.6 B   snappy 8.5 B, no faster   zstd 3 2% smaller, written at half the speed
//! ```

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Fields, Float32Type, Schema, SchemaRef, TimeUnit};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use crate::action::{ActionSpace, Kind};
use crate::error::Result;
use crate::footer;
use crate::frame::Codec;
use crate::spec::DatasetSpec;

/// Rows of a page of `frames`, at most: the length of a training window.
pub(crate) const FRAME_PAGE_ROWS: usize = 32;
/// Rows of a page of `frames` of codec `fast`. A window begins anywhere in a page, so of pages of 32 it reads twice what it
/// needs: little beside decoding JPEG, as much again as decoding these.
const FAST_PAGE_ROWS: usize = 8;
/// Rows of a page of `steps`: long enough to compress and to scan, short enough to fetch for one window.
pub(crate) const STEP_PAGE_ROWS: usize = 32_768;
/// Rows of a row group of `steps`, which bounds the rows of a part.
pub(crate) const STEP_GROUP_ROWS: usize = 1 << 20;

/// One of a dataset's core tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    /// One row an episode: the index, and statistics.
    Episodes,
    /// One row a step: actions and telemetry.
    Steps,
    /// One row a step: the encoded image.
    Frames,
}

impl Table {
    /// All three, in the order in which they are committed.
    pub const COMMIT_ORDER: [Table; 3] = [Table::Frames, Table::Steps, Table::Episodes];

    /// The folder within the dataset, which is also the table's name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Episodes => "episodes",
            Self::Steps => "steps",
            Self::Frames => "frames",
        }
    }

    /// The table's columns.
    pub fn schema(self, actions: &ActionSpace) -> SchemaRef {
        let fields = match self {
            Self::Episodes => episode_fields(actions),
            Self::Steps => step_fields(actions),
            Self::Frames => frame_fields(),
        };
        Arc::new(Schema::new(fields))
    }

    /// How a file of the table is written. `first` are its first rows, which tell for `steps` what telemetry is like.
    pub(crate) fn properties(self, spec: &DatasetSpec, first: Option<&RecordBatch>) -> Result<WriterProperties> {
        let builder = WriterProperties::builder()
            .set_key_value_metadata(Some(footer::write(self, spec)?))
            .set_sorting_columns(Some(self.sorting()))
            .set_statistics_enabled(EnabledStatistics::Page);
        Ok(match self {
            Self::Episodes => builder.set_compression(zstd()).build(),
            Self::Steps => step_layout(builder.set_compression(zstd()), &spec.actions, first).build(),
            Self::Frames => frame_layout(builder.set_compression(Compression::UNCOMPRESSED), spec).build(),
        })
    }

    fn sorting(self) -> Vec<SortingColumn> {
        let columns = if self == Self::Episodes { 0..1 } else { 0..2 };
        columns.map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: false }).collect()
    }
}

fn zstd() -> Compression {
    Compression::ZSTD(ZstdLevel::default())
}

fn dictionary(name: &str, nullable: bool) -> Field {
    let strings = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    Field::new(name, strings, nullable)
}

fn episode_fields(actions: &ActionSpace) -> Vec<Field> {
    let mut fields = vec![
        Field::new("episode_id", DataType::Int64, false),
        dictionary("source", false),
        dictionary("map", true),
        dictionary("player", true),
        dictionary("policy", true),
        dictionary("spawn", true),
        dictionary("outcome", true),
        dictionary("split", true),
        dictionary("action_source", false),
        Field::new("seed", DataType::Int64, true),
        Field::new("hz", DataType::Float32, false),
        Field::new("num_steps", DataType::Int32, false),
        Field::new("return", DataType::Float32, true),
        Field::new("started_at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("idle_fraction", DataType::Float32, false),
        Field::new("distance", DataType::Float32, true),
        Field::new("net_displacement", DataType::Float32, true),
        Field::new("action_entropy", DataType::Float32, false),
    ];
    fields.extend(press_columns(actions).map(|name| Field::new(name, DataType::Int32, false)));
    fields.extend([
        Field::new("mean_stick_deflection", DataType::Float32, false),
        Field::new("longest_repeat", DataType::Int32, false),
        Field::new("action_hash", DataType::Int64, false),
    ]);
    fields
}

/// Columns `presses_<button>` of `episodes`, in the action space's order.
pub(crate) fn press_columns(actions: &ActionSpace) -> impl Iterator<Item = String> {
    let buttons = actions.components.iter().filter(|c| c.kind == Kind::Button);
    buttons.map(|c| format!("presses_{}", c.name))
}

/// Telemetry columns of `steps`. Buttons are called `x` and `y`, so positions are `pos_x` and `pos_y`.
pub(crate) const TELEMETRY: [&str; 5] = ["pos_x", "pos_y", "pos_z", "yaw", "pitch"];

/// Column of `steps` with all buttons of a step: bit k is the k-th button of the action space.
pub(crate) const BUTTONS: &str = "buttons";

/// The type of the column [`BUTTONS`], for a space that has it.
pub(crate) fn packed_type(actions: &ActionSpace) -> Option<DataType> {
    actions.button_bits().map(|bits| match bits {
        16 => DataType::UInt16,
        32 => DataType::UInt32,
        _ => DataType::UInt64,
    })
}

fn step_fields(actions: &ActionSpace) -> Vec<Field> {
    let mut fields = vec![Field::new("episode_id", DataType::Int64, false), Field::new("t", DataType::Int32, false)];
    fields.extend(actions.components.iter().map(|c| match c.kind {
        Kind::Button => Field::new(&c.name, DataType::Boolean, false),
        Kind::Axis => Field::new(&c.name, DataType::UInt8, false),
    }));
    fields.extend(packed_type(actions).map(|bits| Field::new(BUTTONS, bits, false)));
    fields.extend(TELEMETRY.map(|name| Field::new(name, DataType::Float32, true)));
    fields.extend([
        Field::new("reward", DataType::Float32, true),
        Field::new("terminated", DataType::Boolean, false),
        Field::new("truncated", DataType::Boolean, false),
    ]);
    fields
}

/// The fields within the column `image`: the Hugging Face convention, so that viewers show pictures. `path` is null.
pub(crate) fn image_fields() -> Fields {
    Fields::from(vec![Field::new("bytes", DataType::Binary, false), Field::new("path", DataType::Utf8, true)])
}

fn frame_fields() -> Vec<Field> {
    vec![
        Field::new("episode_id", DataType::Int64, false),
        Field::new("t", DataType::Int32, false),
        Field::new("image", DataType::Struct(image_fields()), false),
    ]
}

fn encoded(builder: WriterPropertiesBuilder, column: &str, encoding: Encoding) -> WriterPropertiesBuilder {
    let path = ColumnPath::from(column);
    builder.set_column_dictionary_enabled(path.clone(), false).set_column_encoding(path, encoding)
}

fn step_layout(
    builder: WriterPropertiesBuilder,
    actions: &ActionSpace,
    first: Option<&RecordBatch>,
) -> WriterPropertiesBuilder {
    let mut builder = builder
        .set_write_batch_size(STEP_PAGE_ROWS)
        .set_data_page_row_count_limit(STEP_PAGE_ROWS)
        .set_max_row_group_row_count(Some(STEP_GROUP_ROWS));
    builder = encoded(builder, "t", Encoding::DELTA_BINARY_PACKED);
    for button in actions.components.iter().filter(|c| c.kind == Kind::Button) {
        builder = encoded(builder, &button.name, Encoding::PLAIN);
    }
    for column in TELEMETRY.into_iter().chain(["reward"]) {
        if !first.is_some_and(|rows| repeats(rows, column)) {
            builder = encoded(builder, column, Encoding::BYTE_STREAM_SPLIT);
        }
    }
    builder = encoded(builder, "terminated", Encoding::RLE);
    encoded(builder, "truncated", Encoding::RLE)
}

/// Whether a column of numbers has few values, each of them often: 16 times or more on average.
fn repeats(rows: &RecordBatch, column: &str) -> bool {
    let Some(numbers) = rows.column_by_name(column).and_then(|c| c.as_primitive_opt::<Float32Type>()) else {
        return false;
    };
    let most = rows.num_rows() / 16;
    let mut seen = HashSet::new();
    numbers.iter().flatten().all(|value| {
        seen.insert(value.to_bits());
        seen.len() <= most
    })
}

fn frame_layout(builder: WriterPropertiesBuilder, spec: &DatasetSpec) -> WriterPropertiesBuilder {
    let is_fast = spec.frames.as_ref().is_some_and(|frames| frames.codec == Codec::Fast);
    let page_rows = if is_fast { FAST_PAGE_ROWS } else { FRAME_PAGE_ROWS };
    let bytes = ColumnPath::new(vec!["image".into(), "bytes".into()]);
    let mut builder = builder
        .set_dictionary_enabled(false)
        .set_write_batch_size(page_rows)
        .set_data_page_row_count_limit(page_rows)
        // Rows alone close a page, however large its images are.
        .set_column_data_page_size_limit(bytes.clone(), 1 << 30)
        // The least and greatest JPEG of a page say nothing.
        .set_column_statistics_enabled(bytes.clone(), EnabledStatistics::None)
        .set_column_encoding(bytes, Encoding::PLAIN)
        .set_max_row_group_row_count(None);
    builder = encoded(builder, "episode_id", Encoding::DELTA_BINARY_PACKED);
    encoded(builder, "t", Encoding::DELTA_BINARY_PACKED)
}

/// A key of a file's footer.
pub(crate) fn key_value(key: &str, value: String) -> KeyValue {
    KeyValue::new(key.to_owned(), value)
}
