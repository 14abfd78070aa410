//! `doctor` and `clean`.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::args::{CleanArgs, DoctorArgs};
use super::{Context, json};
use crate::doctor;
use crate::engine::store::{Content, files, folders};
use crate::engine::{Error, names};

/// `playhouse doctor`
pub(super) fn doctor(context: &mut Context, args: &DoctorArgs) -> Result<()> {
    let findings = doctor::examine(context.home.root(), context.threads);
    if args.json {
        json(context.out, &findings)?;
    } else {
        write!(context.out, "{findings}")?;
    }
    Ok(())
}

/// `playhouse clean`: outputs that are neither what a pipeline's last run uses nor work that it would go on with.
pub(super) fn clean(context: &mut Context, args: &CleanArgs) -> Result<()> {
    let home = context.home.clone();
    if !home.root().is_dir() {
        writeln!(context.out, "nothing to remove: {} does not exist", home.root().display())?;
        return Ok(());
    }
    let lock = home.lock("clean")?;
    if let Some(name) = args.pipeline.as_deref().filter(|name| names::latest(&home, name).is_none()) {
        return Err(Error::Usage(format!("no pipeline `{name}` has run in {}", home.root().display())).into());
    }
    let (mut outputs, mut bytes) = (0, 0);
    for pipeline in folders(home.root()) {
        let Some(name) = pipeline.file_name().and_then(|n| n.to_str()) else { continue };
        if args.pipeline.as_deref().is_some_and(|wanted| wanted != name) {
            continue;
        }
        // A folder without this file is not a pipeline's.
        let Some(latest) = names::latest(&home, name) else { continue };
        for stage in folders(&pipeline) {
            let text = |path: &Path| path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
            for dir in folders(&stage) {
                let used = latest.uses(&text(&stage), &text(&dir));
                if used || home.content(&dir)? == Content::Nothing {
                    continue;
                }
                let size: u64 = files(&dir).with_context(|| format!("cannot list {}", dir.display()))?.values().sum();
                writeln!(context.out, "{:>9}  {}", human(size), dir.display())?;
                if !args.dry_run {
                    lock.remove(&dir)?;
                }
                outputs += 1;
                bytes += size;
            }
        }
    }
    let verb = if args.dry_run { "would be removed" } else { "removed" };
    writeln!(context.out, "{outputs} outputs, {} {verb}", human(bytes))?;
    Ok(())
}

/// Bytes as people read them.
fn human(bytes: u64) -> String {
    doctor::bytes(bytes)
}
