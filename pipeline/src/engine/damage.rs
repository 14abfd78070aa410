//! Whether a stage failed because an input's file is no longer what was written, and what to do about it.
//!
//! A plan looks at sizes and times of an output's files and not at their content: reading 10,000 hours takes minutes. So a disk
//! that loses bits is first noticed by the stage that reads them, whose error names the file; that file alone is hashed here.

use std::path::Path;

use super::plan::{Item, Plan, stage_of};
use super::store::{Content, Home, hash};

/// What to do about an input's damaged file that the error names; nothing if it names none, or none that is damaged.
pub(super) fn advice(plan: &Plan, item: &Item, home: &Home, error: &str) -> Option<String> {
    let inputs = item.inputs.iter().filter_map(|(input, fingerprint)| Some((input, plan.item(input, fingerprint)?)));
    inputs.into_iter().find_map(|(input, above)| {
        // This run may have made it, so that the plan has no record of it.
        let Ok(Content::Finished(record)) = home.content(&above.dir) else { return None };
        let mut files = record.hashes.iter();
        files.find(|(file, made)| {
            let path = above.dir.join(file);
            error.contains(&path.display().to_string()) && hash(&path).ok().as_ref() != Some(*made)
        })?;
        Some(remedy(stage_of(input), &above.dir))
    })
}

fn remedy(stage: &str, dir: &Path) -> String {
    let data = dir.join("data");
    // By its folder: a stage's name means what ran last, in the usual home.
    let all = match data.is_dir() {
        true => format!("`playhouse verify --deep {}` finds all of it; ", data.display()),
        false => String::new(),
    };
    let dir = dir.display();
    format!(
        "the file has changed since stage `{stage}` wrote it; {all}delete the folder {dir} and run again to make it again"
    )
}
