//! Parameters: defaults, `--set` overrides, the matrix, and `${name}` in settings.

use std::collections::BTreeMap;

use toml::Value;

use super::definition::Definition;
use super::error::{Error, Result};
use super::nearest::hint;

/// One run's parameters, resolved.
pub type Parameters = BTreeMap<String, Value>;

/// The parameters of every run that a definition and its overrides stand for: one, or one for each combination of the
/// matrix. An override of a swept parameter takes it out of the sweep.
pub fn resolve(definition: &Definition, overrides: &[String]) -> Result<Vec<Parameters>> {
    let mut base: Parameters = definition.parameters.clone();
    let mut matrix = definition.matrix.clone();
    for text in overrides {
        let Some((key, value)) = text.split_once('=') else {
            return Err(Error::Usage(format!("--set {text}: write it as name=value, as in --set target=right")));
        };
        let key = key.trim();
        let Some(default) = definition.parameters.get(key) else {
            let known = definition.parameters.keys().map(String::as_str);
            return Err(Error::Usage(format!(
                "--set {text}: pipeline `{}` has no parameter `{key}`{}",
                definition.name,
                hint(key, known)
            )));
        };
        base.insert(key.to_owned(), parse(key, value.trim(), default)?);
        matrix.remove(key);
    }
    let mut runs = vec![base];
    for (key, values) in &matrix {
        let default = &definition.parameters[key];
        let mut next = Vec::with_capacity(runs.len() * values.len());
        for run in &runs {
            for value in values {
                let value = fit(value.clone(), default).ok_or_else(|| {
                    let (is, wants) = (value.type_str(), default.type_str());
                    definition.origin.on_line(
                        None,
                        format!("[matrix] {key}: {value} is of type {is}, the parameter's default of type {wants}"),
                    )
                })?;
                let mut run = run.clone();
                run.insert(key.clone(), value);
                next.push(run);
            }
        }
        runs = next;
    }
    Ok(runs)
}

/// Reads what was typed as a value of the default's type.
fn parse(key: &str, text: &str, default: &Value) -> Result<Value> {
    let value = match default {
        Value::String(_) => Some(Value::String(text.to_owned())),
        _ => toml::from_str::<toml::Table>(&format!("v = {text}"))
            .ok()
            .and_then(|mut table| table.remove("v"))
            .and_then(|value| fit(value, default)),
    };
    value.ok_or_else(|| {
        Error::Usage(format!(
            "--set {key}={text}: the parameter is of type {} (its default is {default})",
            default.type_str()
        ))
    })
}

/// The value as the default's type: whole numbers become floats where floats are wanted, nothing else changes.
fn fit(value: Value, default: &Value) -> Option<Value> {
    match (value, default) {
        #[expect(clippy::cast_precision_loss, reason = "parameters are small numbers that people type")]
        (Value::Integer(i), Value::Float(_)) => Some(Value::Float(i as f64)),
        (value, default) if value.same_type(default) => Some(value),
        _ => None,
    }
}

/// Replaces `${name}` throughout a value. A string that is nothing but one `${name}` takes the parameter's type.
pub fn substitute(value: &Value, parameters: &Parameters) -> std::result::Result<Value, String> {
    Ok(match value {
        Value::String(text) => {
            if let Some(name) = text.strip_prefix("${").and_then(|t| t.strip_suffix('}')).filter(|n| !n.contains('$')) {
                return lookup(name, parameters).cloned();
            }
            Value::String(substitute_text(text, parameters)?)
        }
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| substitute(item, parameters)).collect::<std::result::Result<_, _>>()?)
        }
        Value::Table(table) => Value::Table(
            table
                .iter()
                .map(|(key, item)| Ok((key.clone(), substitute(item, parameters)?)))
                .collect::<std::result::Result<_, String>>()?,
        ),
        other => other.clone(),
    })
}

/// Replaces `${name}` inside a text.
pub fn substitute_text(text: &str, parameters: &Parameters) -> std::result::Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let Some(end) = rest[start..].find('}') else {
            return Err(format!("`{text}` opens ${{ and never closes it"));
        };
        out.push_str(&rest[..start]);
        match lookup(&rest[start + 2..start + end], parameters)? {
            Value::String(s) => out.push_str(s),
            other => out.push_str(&other.to_string()),
        }
        rest = &rest[start + end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

fn lookup<'a>(name: &str, parameters: &'a Parameters) -> std::result::Result<&'a Value, String> {
    parameters
        .get(name)
        .ok_or_else(|| format!("${{{name}}} is no parameter{}", hint(name, parameters.keys().map(String::as_str))))
}

/// `target=left seed=2`: the parameters in which runs of one matrix differ.
pub fn label(parameters: &Parameters, varying: &[String]) -> String {
    let shown = |key: &String| match &parameters[key] {
        Value::String(s) => format!("{key}={s}"),
        other => format!("{key}={other}"),
    };
    varying.iter().map(shown).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition() -> Definition {
        let text = "name = \"p\"\n[parameters]\nseed = 1\nrate = 0.5\ntarget = \"left\"\nmaps = [\"a\"]\n[matrix]\nseed = [1, 2]\n[[stage]]\nname = \"a\"\nkind = \"record\"\n";
        Definition::parse("p.toml", None, text).unwrap()
    }

    fn set(overrides: &[&str]) -> Result<Vec<Parameters>> {
        resolve(&definition(), &overrides.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn overrides_keep_the_type_of_the_default() {
        let runs = set(&["rate=2", "target=right", "maps=[\"b\", \"c\"]"]).unwrap();
        assert_eq!(runs.len(), 2);
        assert_eq!(runs[0]["rate"], Value::Float(2.0));
        assert_eq!(runs[1]["seed"], Value::Integer(2));
        assert_eq!(runs[0]["maps"].as_array().unwrap().len(), 2);
        assert_eq!(set(&["seed=7"]).unwrap().len(), 1);
    }

    #[test]
    fn wrong_overrides_say_what_is_right() {
        let message = |o: &str| set(&[o]).unwrap_err().to_string();
        assert!(message("sed=3").contains("did you mean `seed`?"));
        assert!(message("seed=abc").contains("of type integer"));
        assert!(message("seed=1.5").contains("of type integer"));
        assert!(message("seed").contains("name=value"));
    }

    #[test]
    fn substitution_keeps_whole_values_typed() {
        let p = &set(&[]).unwrap()[1];
        let go = |s: &str| substitute(&Value::String(s.to_owned()), p);
        assert_eq!(go("${seed}").unwrap(), Value::Integer(2));
        assert_eq!(go("${target}-${seed}").unwrap(), Value::String("left-2".into()));
        assert!(go("${targt}").unwrap_err().contains("did you mean `target`?"));
        assert!(go("x ${seed").unwrap_err().contains("never closes"));
        assert_eq!(label(p, &["seed".into(), "target".into()]), "seed=2 target=left");
    }
}
