//! What a file says of itself: the keys that every file of a dataset carries in its Parquet footer.
//!
//! ```text
//! playhouse.format_version   "2"
//! playhouse.table            "episodes" | "steps" | "frames"
//! playhouse.action_space     JSON of ActionSpace
//! playhouse.frame_spec       JSON of FrameSpec, or "null" for a dataset without frames
//! ```
//!
//! There is no manifest beside the data that could disagree with it.

use std::path::Path;

use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowSchemaConverter;
use parquet::file::metadata::{FileMetaData, KeyValue};
use parquet::schema::types::SchemaDescriptor;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::spec::DatasetSpec;
use crate::table::{Table, key_value};

/// The version that this crate writes and reads. 2 added the column `buttons` to `steps`.
pub const FORMAT_VERSION: u32 = 2;

const VERSION_KEY: &str = "playhouse.format_version";
const TABLE_KEY: &str = "playhouse.table";
const ACTIONS_KEY: &str = "playhouse.action_space";
const FRAMES_KEY: &str = "playhouse.frame_spec";

/// The footer keys of a file of `table`.
pub(crate) fn write(table: Table, spec: &DatasetSpec) -> Result<Vec<KeyValue>> {
    let internal = |e| Error::Internal(format!("writing a footer: {e}"));
    Ok(vec![
        key_value(VERSION_KEY, FORMAT_VERSION.to_string()),
        key_value(TABLE_KEY, table.name().to_owned()),
        key_value(ACTIONS_KEY, serde_json::to_string(&spec.actions).map_err(internal)?),
        key_value(FRAMES_KEY, serde_json::to_string(&spec.frames).map_err(internal)?),
    ])
}

/// Reads a footer's keys and checks that the file is what its place says: of this format and version, of `table`, with
/// the columns that its own action space asks for.
pub(crate) fn read(path: &Path, table: Table, file: &FileMetaData) -> Result<DatasetSpec> {
    let value = |key: &str| {
        let entries = file.key_value_metadata().into_iter().flatten();
        entries.filter(|e| e.key == key).find_map(|e| e.value.as_deref())
    };
    let Some(version) = value(VERSION_KEY) else {
        return Err(Error::foreign(path, format!("its footer has no `{VERSION_KEY}`")));
    };
    if version != FORMAT_VERSION.to_string() {
        let found = version.to_owned();
        return Err(Error::Version { path: path.to_owned(), found, supported: FORMAT_VERSION });
    }
    let required = |key| value(key).ok_or_else(|| Error::foreign(path, format!("its footer has no `{key}`")));
    let found = required(TABLE_KEY)?;
    if found != table.name() {
        let reason = format!("it holds the table `{found}` but lies in `{}/`; move it back", table.name());
        return Err(Error::corrupt(path, reason));
    }
    let spec = DatasetSpec {
        actions: json(path, ACTIONS_KEY, required(ACTIONS_KEY)?)?,
        frames: json(path, FRAMES_KEY, required(FRAMES_KEY)?)?,
    };
    spec.check().map_err(|e| Error::corrupt(path, format!("footer: {e}")))?;
    check_columns(path, &table.schema(&spec.actions), file.schema_descr())?;
    Ok(spec)
}

fn json<T: DeserializeOwned>(path: &Path, key: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| Error::corrupt(path, format!("footer key `{key}`: {e}")))
}

/// Compares leaf columns by path and stored type. Arrow's own copy of the schema in the footer is not consulted: other
/// tools drop it.
fn check_columns(path: &Path, expected: &SchemaRef, found: &SchemaDescriptor) -> Result<()> {
    let expected = ArrowSchemaConverter::new()
        .convert(expected)
        .map_err(|e| Error::Internal(format!("converting a schema: {e}")))?;
    for (i, want) in expected.columns().iter().enumerate() {
        let name = want.path().string();
        match found.columns().get(i) {
            Some(have) if have.path() == want.path() => {
                if have.physical_type() != want.physical_type()
                    || have.max_def_level() != want.max_def_level()
                    || have.max_rep_level() != want.max_rep_level()
                {
                    let (have, want) = (have.physical_type(), want.physical_type());
                    let reason = format!("column `{name}` is stored as {have} or is nullable, expected {want}");
                    return Err(Error::foreign(path, reason));
                }
            }
            Some(have) => {
                let reason = format!("column {i} is `{}`, expected `{name}`", have.path().string());
                return Err(Error::foreign(path, reason));
            }
            None => return Err(Error::foreign(path, format!("column `{name}` is missing"))),
        }
    }
    match found.columns().get(expected.num_columns()) {
        None => Ok(()),
        Some(extra) => Err(Error::foreign(path, format!("unexpected column `{}`", extra.path().string()))),
    }
}
