//! What plans run in, in a session and on the machines of a cluster: where files are found, and what is remembered of them.

use std::sync::{Arc, OnceLock};

use datafusion::common::format::ExplainFormat;
use datafusion::execution::cache::cache_manager::{CacheManagerConfig, FileMetadataCache};
use datafusion::execution::cache::default_cache::DefaultCache;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::SessionConfig;

use crate::buckets::Buckets;

/// Bytes of Parquet footers and page indexes kept for the whole process.
const FOOTER_CACHE: usize = 256 << 20;

/// Files of this machine and of buckets, their footers kept; no limits.
pub(crate) fn runtime() -> RuntimeEnvBuilder {
    let caches = CacheManagerConfig::default()
        .with_file_metadata_cache(Some(footer_cache()))
        .with_metadata_cache_limit(FOOTER_CACHE);
    RuntimeEnvBuilder::new().with_cache_manager(caches).with_object_store_registry(Arc::new(Buckets::default()))
}

/// One cache for the process: a file's footer and page index are parsed once, however many sessions ask.
fn footer_cache() -> Arc<FileMetadataCache> {
    static CACHE: OnceLock<Arc<FileMetadataCache>> = OnceLock::new();
    Arc::clone(CACHE.get_or_init(|| Arc::new(DefaultCache::new(FOOTER_CACHE).with_name("playhouse footers"))))
}

/// The settings of a session with so many worker threads.
pub(crate) fn config(threads: usize, memory_limit: Option<usize>) -> SessionConfig {
    let mut config = SessionConfig::new().with_target_partitions(threads).with_information_schema(true);
    let options = config.options_mut();
    options.execution.collect_statistics = true;
    // Late materialisation: rows are filtered while decoding, and pages without a match are not read.
    options.execution.parquet.pushdown_filters = true;
    options.execution.parquet.enable_page_index = true;
    // Strings are plain Utf8 wherever they come from, so that a result has one string type.
    options.execution.parquet.schema_force_view_types = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.collect_spans = true;
    // Steps are stored in order: where they are dealt out by episode, merging keeps the order, and nothing is sorted.
    options.optimizer.prefer_existing_sort = true;
    if let Some(limit) = memory_limit {
        // Every sort sets this aside for merging what it has spilled: of a small limit, a small part.
        let merge = &mut options.execution.sort_spill_reservation_bytes;
        *merge = (*merge).min(limit / (16 * threads));
    }
    options.explain.format = ExplainFormat::Indent;
    config
}
