//! What a path names.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use object_store::path::Path as Key;

use crate::error::{Error, Result};

/// Where a dataset, one of its folders or a file lies. Prints as what it is parsed from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// A folder or file of this machine: any path without a scheme.
    Local(PathBuf),
    /// `s3://bucket/key`: an object, or all objects whose keys begin with `key/`.
    S3 {
        /// The bucket.
        bucket: String,
        /// The object's key, or the prefix; empty for the whole bucket.
        key: Key,
    },
}

impl Location {
    /// What a path names.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a scheme that is not read, a URL without a bucket, and a key that no tool would make.
    pub fn of(path: &Path) -> Result<Self> {
        match path.to_str() {
            Some(text) if has_scheme(path) => text.parse(),
            _ => Ok(Self::Local(path.to_owned())),
        }
    }

    /// The path that names it.
    pub fn to_path(&self) -> PathBuf {
        match self {
            Self::Local(path) => path.clone(),
            Self::S3 { .. } => PathBuf::from(self.to_string()),
        }
    }
}

impl FromStr for Location {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some((scheme, rest)) = text.split_once("://").filter(|_| has_scheme(Path::new(text))) else {
            return Ok(Self::Local(PathBuf::from(text)));
        };
        if scheme != "s3" {
            let reason =
                format!("object stores of the kind `{scheme}://` are not read; name a folder, or s3://bucket/prefix");
            return Err(Error::invalid(text, reason));
        }
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(Error::invalid(text, "it names no bucket; write it as s3://bucket/prefix"));
        }
        let key = Key::parse(key.trim_end_matches('/'))
            .map_err(|e| Error::invalid(text, format!("{e}; write it as s3://bucket/prefix")))?;
        Ok(Self::S3 { bucket: bucket.to_owned(), key })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
            Self::S3 { bucket, key } if key.as_ref().is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, key } => write!(f, "s3://{bucket}/{key}"),
        }
    }
}

/// Whether a path is a URL: letters and digits, then `://`.
pub(super) fn has_scheme(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    let scheme = bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    scheme > 0 && bytes[scheme..].starts_with(b"://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_print_as_what_they_are_parsed_from() {
        for text in ["play", "/data/play", "a b/c=d", "s3://bucket", "s3://bucket/some/prefix", "s3://b/x=1/y z"] {
            let location: Location = text.parse().unwrap();
            assert_eq!(location.to_string(), text);
            assert_eq!(Location::of(&location.to_path()).unwrap(), location);
            assert_eq!(matches!(location, Location::S3 { .. }), text.starts_with("s3:"));
        }
        let slash: Location = "s3://bucket/prefix/".parse().unwrap();
        assert_eq!(slash.to_string(), "s3://bucket/prefix");
        // What lies below a prefix is named by joining.
        let file = Location::of(&slash.to_path().join("steps").join("part.parquet")).unwrap();
        assert_eq!(file.to_string(), "s3://bucket/prefix/steps/part.parquet");
    }

    #[test]
    fn what_cannot_be_read_is_said_with_what_can() {
        for (text, words) in [
            ("gs://bucket/play", "`gs://` are not read"),
            ("s3:///play", "names no bucket"),
            ("s3://bucket/a//b", "write it as s3://bucket/prefix"),
        ] {
            let message = text.parse::<Location>().unwrap_err().to_string();
            assert!(message.starts_with(text) && message.contains(words), "{message}");
        }
        assert_eq!("a:b//c".parse::<Location>().unwrap(), Location::Local("a:b//c".into()));
    }
}
