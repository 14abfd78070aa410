//! `definitions`

use anyhow::Result;

use super::Context;
use super::args::DefinitionsArgs;
use super::text::columns;
use crate::engine::definition::{BUILT_IN, Definition};

/// How a definition is written, with the settings of every kind of stage.
const KINDS: &str = include_str!("../../definitions/KINDS.md");

/// `playhouse definitions`
pub(super) fn definitions(context: &mut Context, args: DefinitionsArgs) -> Result<()> {
    if args.kinds {
        write!(context.out, "{KINDS}")?;
        return Ok(());
    }
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::stages::{self, KINDS as ALL};

    /// The text below each heading.
    fn sections() -> BTreeMap<&'static str, &'static str> {
        KINDS.split("\n## ").skip(1).filter_map(|section| section.split_once('\n')).collect()
    }

    #[test]
    fn what_a_name_may_be_is_told() {
        let said = |name: &str| KINDS.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
        for (name, characters) in [("name = \"mine\"", "digits, - and _,"), ("name = \"long\"", "digits and _,")] {
            let rule = format!("lower-case letters, {characters} beginning with a letter");
            assert!(said(name).contains(&rule), "{name}");
        }
    }

    #[test]
    fn every_setting_of_every_kind_is_described_and_no_other() {
        let sections = sections();
        let all: BTreeSet<&str> = sections.keys().flat_map(|heading| heading.split(", ")).collect();
        assert_eq!(all, ALL.iter().copied().chain(["query"]).collect());
        let mut names = BTreeSet::new();
        for kind in ALL {
            let (_, text) = sections.iter().find(|(heading, _)| heading.split(", ").any(|one| one == *kind)).unwrap();
            // The message about an unknown setting lists those that there are.
            let settings = "no_such_setting_at_all = 1".parse().unwrap();
            let error = stages::check(kind, "s", &settings).unwrap_err().to_string();
            for known in error.split("there are: ").nth(1).unwrap().split(", ") {
                assert!(text.contains(&format!("`{known}`")), "`{known}` of {kind} is not described");
                names.insert(known.to_owned());
            }
        }
        // What a bullet begins with is a setting of some kind.
        names.extend(["dataset", "tables"].map(str::to_owned));
        for line in KINDS.lines().filter_map(|line| line.strip_prefix("- `")) {
            let name = line.split('`').next().unwrap();
            assert!(names.contains(name), "`{name}` is no setting");
        }
    }
}
