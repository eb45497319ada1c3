//! Checks names and choices in the text, before any value is read.

use super::keys::{GLOBAL, Table};
use super::{Error, alternatives, in_text, line_of};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Refuses unknown keys; gives a warning for each of GitLab Runner's keys without an effect here.
pub(super) fn check(text: &str) -> Result<Vec<String>, Error> {
    let document = DeTable::parse(text).map_err(|error| in_text(text, &error))?;
    let mut check = Check { text, warnings: Vec::new() };
    check.table(document.get_ref(), &GLOBAL, "")?;
    Ok(check.warnings)
}

struct Check<'a> {
    text: &'a str,
    warnings: Vec<String>,
}

impl Check<'_> {
    fn table(&mut self, table: &DeTable<'_>, known: &Table, path: &str) -> Result<(), Error> {
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let line = line_of(self.text, key.span().start);
            if let Some((_, below)) = known.tables.iter().find(|(table, _)| *table == name) {
                self.below(value, below, &join(path, name))?;
            } else if known.later.contains(&name) {
                self.warnings.push(format!("line {line}: `{}` has no effect here", join(path, name)));
            } else if !known.any && !known.done.contains(&name) && !known.silent.contains(&name) {
                return Err(Error::Text { line, message: unknown(known, path, name) });
            }
            if let Some((_, choices)) = known.choices.iter().find(|(key, _)| *key == name) {
                self.choice(value, choices, name)?;
            }
        }
        Ok(())
    }

    fn below(&mut self, value: &Spanned<DeValue<'_>>, known: &Table, path: &str) -> Result<(), Error> {
        match value.get_ref() {
            DeValue::Table(table) => self.table(table, known, path),
            DeValue::Array(tables) => tables.iter().try_for_each(|table| self.below(table, known, path)),
            other => {
                let message = format!("`{path}` is a table, not a {}", other.type_str());
                Err(Error::Text { line: line_of(self.text, value.span().start), message })
            }
        }
    }

    fn choice(&self, value: &Spanned<DeValue<'_>>, choices: &[&str], name: &str) -> Result<(), Error> {
        match value.get_ref() {
            DeValue::Array(values) => values.iter().try_for_each(|value| self.choice(value, choices, name)),
            DeValue::String(word) if !choices.contains(&word.as_ref()) => {
                let line = line_of(self.text, value.span().start);
                Err(Error::Text { line, message: format!("{name} is `{word}`, must be {}", alternatives(choices)) })
            }
            _ => Ok(()),
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn unknown(known: &Table, path: &str, name: &str) -> String {
    let place = if path.is_empty() { String::new() } else { format!(" in [{path}]") };
    match nearest(known, name) {
        Some(near) => format!("unknown key `{name}`{place}; did you mean `{near}`?"),
        None => format!("unknown key `{name}`{place}"),
    }
}

/// The known key that is most like an unknown one, if any is like it at all.
fn nearest(known: &Table, name: &str) -> Option<&'static str> {
    let tables = known.tables.iter().map(|(table, _)| *table);
    let keys = known.done.iter().chain(known.later).copied().chain(tables);
    let like = |key: &str| strsim::jaro_winkler(&key.to_lowercase(), &name.to_lowercase());
    keys.max_by(|a, b| like(a).total_cmp(&like(b))).filter(|key| like(key) > 0.7)
}
