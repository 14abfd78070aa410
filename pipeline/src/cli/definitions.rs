//! `definitions`

use anyhow::Result;

use super::Context;
use super::args::DefinitionsArgs;
use super::text::columns;
use crate::engine::definition::{BUILT_IN, Definition};

/// `playhouse definitions`
pub(super) fn definitions(context: &mut Context, args: DefinitionsArgs) -> Result<()> {
    if let Some(name) = args.name {
        write!(context.out, "{}", Definition::load(&name)?.text())?;
        return Ok(());
    }
    let mut rows = Vec::new();
    for (name, _) in BUILT_IN {
        let definition = Definition::load(name)?;
        let first = definition.description.trim().split_inclusive(". ").next().unwrap_or_default().trim().to_owned();
        rows.push(vec![(*name).to_owned(), format!("{} stages", definition.stages.len()), first]);
    }
    write!(context.out, "{}", columns(&rows, ""))?;
    Ok(())
}
