//! Runs statements and commands one after the other, whether they come from a file or from somebody at a prompt.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use playhouse_queries::{Inspection, Params, Session, inspect};

use super::answer::{Answered, Asked};
use super::arguments::{ending, format_of, read};
use super::command::{self, Command, Setting};
use super::look_up;
use super::pager::Paged;
use super::pictures::RawFrames;
use super::scan_line::ScanLine;
use super::script::{Item, Script};
use crate::cli::Context;
use crate::cli::args::Format;
use crate::engine::{Error, clock};

/// Files that include files that include files, and so on.
const DEPTH: usize = 16;

/// What commands change.
pub(super) struct Settings {
    pub(super) params: Params,
    /// None: a table, or what a file's name ends in.
    pub(super) format: Option<Format>,
    /// Where the next answer goes.
    pub(super) output: Option<Output>,
    pub(super) images: Option<PathBuf>,
    pub(super) timing: bool,
    /// Rows of a table that are shown at most.
    pub(super) rows: Option<usize>,
}

/// A file for an answer.
pub(super) struct Output {
    pub(super) path: PathBuf,
    /// What its name ends in, where that counts for more than the format that is set.
    pub(super) format: Option<Format>,
}

/// Whether there is more to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    GoOn,
    Quit,
}

/// A session, its settings, and where answers go.
pub(super) struct Interpreter<'a, 'c> {
    pub(super) context: &'a mut Context<'c>,
    pub(super) session: Session,
    pub(super) settings: Settings,
    pub(super) raw: RawFrames,
    pub(super) line: ScanLine,
    /// Somebody sits there: values may be set that only a later statement uses, and numbers of rows are said beside
    /// the answer and not in it.
    pub(super) prompt: bool,
}

impl Interpreter<'_, '_> {
    /// Runs a text in order, up to the first error. `origin` is the file it comes from.
    ///
    /// # Errors
    /// That of the first statement or command that fails, with its line where the text has several.
    pub(super) fn run(&mut self, text: &str, origin: Option<&Path>) -> Result<Next> {
        self.run_script(text, origin, 0)
    }

    fn run_script(&mut self, text: &str, origin: Option<&Path>, depth: usize) -> Result<Next> {
        let script = Script::parse(text);
        if !self.prompt {
            self.check(&script, depth)?;
        }
        // A value that the only statement does not use is most often a misspelt name. Of several, each takes its own.
        let alone = !self.prompt && depth == 0 && script.items().len() == 1;
        for (line, item) in script.items() {
            let done = match item {
                Item::Statement(range) => self.statement(&script.statement(range), alone),
                Item::Command(text) => match Command::parse(text) {
                    Ok(command) => self.obey(command, depth),
                    Err(error) => Err(error),
                },
            };
            let several = script.items().len() > 1;
            let done = match origin {
                Some(file) if several => done.with_context(|| format!("{}:{line}", file.display())),
                None if several && !self.prompt => done.with_context(|| format!("line {line}")),
                _ => done,
            };
            if done? == Next::Quit {
                return Ok(Next::Quit);
            }
        }
        Ok(Next::GoOn)
    }

    /// What would be noticed too late, or never, once statements run one by one.
    fn check(&self, script: &Script, depth: usize) -> Result<()> {
        if script.items().is_empty() {
            // Says so, in the parser's own words.
            self.session.check(script.text(), &Params::new())?;
        }
        let statements = script.statements();
        if statements < 2 {
            return Ok(());
        }
        if let Some(Output { path, .. }) = &self.settings.output {
            let message = format!(
                "{} can hold the answer of one statement, and these are {statements}: write \\o FILE before each",
                path.display()
            );
            return Err(Error::Usage(message).into());
        }
        let mut used = BTreeSet::new();
        for (_, item) in script.items() {
            let found = match item {
                Item::Statement(range) => inspect(&script.statement(range)).ok(),
                // What another file uses is not known yet.
                Item::Command(text) => (!text.starts_with("i ")).then(Inspection::default),
            };
            // What is wrong is said when its turn comes.
            let Some(found) = found.filter(|_| depth == 0) else { return Ok(()) };
            used.extend(found.parameters);
        }
        match self.settings.params.keys().find(|name| !used.contains(*name)) {
            Some(name) => Err(Error::Usage(format!("none of the statements uses ${name}")).into()),
            None => Ok(()),
        }
    }

    fn statement(&mut self, sql: &str, alone: bool) -> Result<Next> {
        let mut params = self.settings.params.clone();
        if !alone {
            let used = inspect(sql)?.parameters;
            params.retain(|name, _| used.contains(name));
        }
        let output = self.settings.output.take();
        let format = output.as_ref().and_then(|output| output.format).or(self.settings.format);
        let output = output.as_ref().map(|output| output.path.as_path());
        let format = format_of(format, output)?;
        let asked = Asked {
            session: &self.session,
            sql,
            params: &params,
            format,
            raw: &self.raw,
            images: self.settings.images.as_deref(),
            rows: self.settings.rows,
        };
        let began = Instant::now();
        self.line.begin();
        let answered = match output {
            Some(path) => asked.store(path).map(Some),
            None => show(&mut *self.context.out, &self.line, |out| {
                let answered = asked.print(out)?;
                if !self.prompt && format == Format::Table {
                    writeln!(out, "{}", answered.count())?;
                }
                Ok(answered)
            }),
        };
        self.line.clear();
        let took = began.elapsed().as_secs_f64();
        if let Some(answered) = answered? {
            self.tell(&answered, output, format, took);
        }
        Ok(Next::GoOn)
    }

    /// What is worth knowing about an answer and is not in it.
    fn tell(&self, answered: &Answered, output: Option<&Path>, format: Format, seconds: f64) {
        let console = self.context.console;
        if let Some(path) = output {
            let rows = if format == Format::Parquet || self.prompt {
                format!("{} in ", answered.count())
            } else {
                String::new()
            };
            console.line(&format!("{rows}{}", path.display()));
        }
        if let Some(folder) = self.settings.images.as_deref() {
            let unknown = match answered.unknown {
                0 => String::new(),
                count => format!(
                    "; {count} are neither JPEG nor PNG, and no dataset that is asked here says that its raw frames have \
                     as many bytes: they were not written"
                ),
            };
            let count = answered.written;
            let noun = if count == 1 { "picture" } else { "pictures" };
            console.line(&format!("{count} {noun} in {}{unknown}", folder.display()));
        }
        if answered.more {
            console.line(&format!(
                "the first {}; there are more: add a LIMIT, write them all to a file with \\o FILE, or show them with \\rows all",
                answered.count()
            ));
        }
        let took = clock::precise(seconds);
        match (self.prompt && output.is_none(), self.settings.timing) {
            (true, true) => console.line(&format!("{} in {took}", answered.count())),
            (true, false) => console.line(&answered.count()),
            (false, true) => console.line(&took),
            (false, false) => {}
        }
    }

    fn obey(&mut self, command: Command, depth: usize) -> Result<Next> {
        let settings = &mut self.settings;
        match command {
            Command::Tables => {
                let text = look_up::tables(&self.session);
                self.print(&text)?;
            }
            Command::Columns(name) => {
                let text = look_up::table(&self.session, &name)?;
                self.print(&text)?;
            }
            Command::Functions => self.print(&look_up::all_functions())?,
            Command::Function(name) => {
                let text = look_up::function(&self.session, &name)?;
                self.print(&text)?;
            }
            Command::Parameters => {
                let lines: String =
                    settings.params.iter().map(|(name, value)| format!("{}\n", Setting(name, value))).collect();
                self.print(&lines)?;
            }
            Command::Set(name, value) => {
                settings.params.insert(name, value);
            }
            Command::Unset(name) => {
                if settings.params.remove(&name).is_none() {
                    return Err(Error::Usage(format!("${name} has no value; \\set lists those that have one")).into());
                }
            }
            Command::Format(format) => settings.format = Some(format),
            Command::Rows(rows) => settings.rows = rows,
            Command::Output(path) => settings.output = Some(Output { format: ending(&path), path }),
            Command::Images(folder) => settings.images = folder,
            Command::Include(_) if depth == DEPTH => {
                return Err(Error::Usage(format!("files include each other {DEPTH} deep: in a circle?")).into());
            }
            Command::Include(path) => return self.run_script(&read(&path)?, Some(&path), depth + 1),
            Command::Timing(on) => {
                settings.timing = on.unwrap_or(!settings.timing);
                let state = if settings.timing { "on" } else { "off" };
                self.context.console.line(&format!("timing is {state}"));
            }
            Command::Help => self.print(&command::help())?,
            Command::Quit => return Ok(Next::Quit),
        }
        Ok(Next::GoOn)
    }

    fn print(&mut self, text: &str) -> Result<()> {
        show(&mut *self.context.out, &self.line, |out| Ok(write!(out, "{text}")?))?;
        Ok(())
    }
}

/// Writes to standard output, through a pager where it does not fit; nothing if its reader left before the end.
fn show<T>(out: &mut dyn Write, line: &ScanLine, write: impl FnOnce(&mut Paged<'_>) -> Result<T>) -> Result<Option<T>> {
    let mut paged = Paged::new(out, line);
    let written = write(&mut paged);
    let left = paged.left;
    paged.finish()?;
    match written {
        Err(_) if left => Ok(None),
        written => written.map(Some),
    }
}
