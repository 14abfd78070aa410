//! Buckets as DataFusion sees them.
//!
//! ```text
//!   table     s3://gameplay/play/steps/part-0.parquet
//!   scan      store s3://gameplay/, object s3:/gameplay/play/steps/part-0.parquet
//!   client    bucket gameplay,      key                 play/steps/part-0.parquet
//! ```
//!
//! DataFusion keeps what it knows of a file under the object's name alone, without that of the store. So names begin with the
//! bucket: files of the same key in two buckets, or of the same path on this machine, stay two files.
//!
//! A bucket's client is looked for when something is read. So a plan that names a bucket can be taken apart and put together
//! where nobody reads it, as in a scheduler without credentials.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::common::Result as EngineResult;
use datafusion::execution::object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry};
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path as Key;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use playhouse_schemas::storage::bucket_of;
use url::Url;

/// The name under which a scan reads an object of the bucket at `url` (`s3://bucket`).
pub(crate) fn object_name(url: &str, key: &Key) -> Key {
    url.split('/').filter(|part| !part.is_empty()).map(Into::into).chain(key.parts()).collect()
}

/// Every bucket, and this machine's files.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    others: DefaultObjectStoreRegistry,
}

impl ObjectStoreRegistry for Buckets {
    fn register_store(&self, url: &Url, store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        self.others.register_store(url, store)
    }

    fn get_store(&self, url: &Url) -> EngineResult<Arc<dyn ObjectStore>> {
        match (url.scheme(), url.host_str()) {
            ("s3", Some(bucket)) => Ok(Arc::new(Objects { url: format!("s3://{bucket}") })),
            _ => self.others.get_store(url),
        }
    }
}

/// The objects of a bucket, to be read under their [names](object_name).
#[derive(Debug)]
struct Objects {
    /// `s3://bucket`
    url: String,
}

impl Objects {
    /// The bucket's client, and the object's key.
    fn find(&self, name: &Key) -> Result<(Arc<dyn ObjectStore>, Key)> {
        let outside = || Error::Generic { store: "S3", source: format!("{name} is not in {}", self.url).into() };
        let bucket = bucket_of(Path::new(&self.url)).map_err(|e| Error::Generic { store: "S3", source: e.into() })?;
        let bucket = bucket.ok_or_else(outside)?;
        let key = name.prefix_match(&object_name(&self.url, &Key::default())).ok_or_else(outside)?.collect();
        Ok((bucket.store, key))
    }

    fn refused(&self, operation: &str) -> Error {
        Error::NotImplemented { operation: operation.to_owned(), implementer: self.to_string() }
    }
}

impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for queries, which only read", self.url)
    }
}

#[async_trait]
impl ObjectStore for Objects {
    async fn get_opts(&self, name: &Key, options: GetOptions) -> Result<GetResult> {
        let (store, key) = self.find(name)?;
        let found = store.get_opts(&key, options).await?;
        Ok(GetResult { meta: ObjectMeta { location: name.clone(), ..found.meta }, ..found })
    }

    async fn put_opts(&self, _: &Key, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(self.refused("put"))
    }

    async fn put_multipart_opts(&self, _: &Key, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(self.refused("put_multipart"))
    }

    fn delete_stream(&self, _: BoxStream<'static, Result<Key>>) -> BoxStream<'static, Result<Key>> {
        stream::iter([Err(self.refused("delete"))]).boxed()
    }

    fn list(&self, _: Option<&Key>) -> BoxStream<'static, Result<ObjectMeta>> {
        stream::iter([Err(self.refused("list"))]).boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Key>) -> Result<ListResult> {
        Err(self.refused("list"))
    }

    async fn copy_opts(&self, _: &Key, _: &Key, _: CopyOptions) -> Result<()> {
        Err(self.refused("copy"))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::SystemTime;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use object_store::local::LocalFileSystem;
    use parquet::arrow::ArrowWriter;
    use playhouse_schemas::storage::use_store;

    use super::*;
    use crate::{Params, Session, SessionOptions};

    #[test]
    fn names_hold_the_bucket_and_the_key() {
        for key in ["play/steps/part.parquet", "a b/x=1/part.parquet", "50%25/part.parquet"] {
            let key = Key::parse(key).unwrap();
            let name = object_name("s3://gameplay", &key);
            assert_eq!(name.as_ref(), format!("s3:/gameplay/{key}"));
            let store = Arc::new(LocalFileSystem::new());
            use_store("gameplay", store);
            assert_eq!(Objects { url: "s3://gameplay".to_owned() }.find(&name).unwrap().1, key);
            assert!(Objects { url: "s3://game".to_owned() }.find(&name).is_err());
        }
    }

    /// Two files that only their buckets tell apart: of one key, size and time.
    #[test]
    fn files_of_one_key_in_two_buckets_are_two_files() {
        let session = Session::new(&SessionOptions { threads: Some(1), ..SessionOptions::default() }).unwrap();
        let (folder, time) = (tempfile::tempdir().unwrap(), SystemTime::now());
        let mut sizes = Vec::new();
        for (bucket, least) in [("first-bucket", 1), ("second-bucket", 1001)] {
            let root = folder.path().join(bucket);
            std::fs::create_dir_all(root.join("play")).unwrap();
            let file = File::create(root.join("play/rows.parquet")).unwrap();
            let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(least..least + 100));
            let batch = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
            let mut writer = ArrowWriter::try_new(file.try_clone().unwrap(), batch.schema(), None).unwrap();
            writer.write(&batch).unwrap();
            writer.close().unwrap();
            file.set_modified(time).unwrap();
            sizes.push(file.metadata().unwrap().len());
            use_store(bucket, Arc::new(LocalFileSystem::new_with_prefix(root).unwrap()));
            let url = format!("s3://{bucket}/play/rows.parquet");
            session.register_parquet(Some(&bucket.replace('-', "_")), "numbers", Path::new(&url)).unwrap();
        }
        assert_eq!(sizes[0], sizes[1], "or the cache would tell them apart by their size");
        let sql = "select 'first' as bucket, count(*) as n, max(n) as most from first_bucket.numbers where n > 50 union all \
                   select 'second', count(*), max(n) from second_bucket.numbers where n > 50 order by bucket";
        let rows = Session::format_table(&session.query(sql, &Params::new()).unwrap()).unwrap();
        let rows: Vec<&str> = rows.lines().filter(|line| line.contains("first") || line.contains("second")).collect();
        assert_eq!(rows, ["| first  | 50  | 100  |", "| second | 100 | 1100 |"]);
    }
}
