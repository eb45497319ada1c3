//! The shell's own expansion, for what GitLab Runner expands where the job's environment is (protocol §6.2).

use super::expand;

/// Expands `$NAME`, `${NAME}` and the forms with a default: `${NAME:-word}`, `${NAME-word}`, `${NAME:+word}`,
/// `${NAME+word}`; words are expanded too. A backslash before `$` keeps it.
///
/// `Err` says what this is no place for, such as a command substitution.
pub(super) fn expand_like_shell<'a>(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<&'a str>,
) -> Result<String, &'static str> {
    if text.matches('{').count() > MAX_BRACES {
        return Err("it has too many braces");
    }
    text_of(text, lookup)
}

/// As deep as words can be nested.
const MAX_BRACES: usize = 200;

fn text_of<'a>(text: &str, lookup: &dyn Fn(&str) -> Option<&'a str>) -> Result<String, &'static str> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['$', '\\', '`']) {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        rest = match rest.as_bytes()[at] {
            b'`' => return Err("commands are not run here"),
            b'\\' if after.starts_with(['$', '`']) => {
                out.push_str(&after[..1]);
                &after[1..]
            }
            b'\\' => {
                out.push('\\');
                after
            }
            _ => parameter(after, lookup, &mut out)?,
        };
    }
    out.push_str(rest);
    Ok(out)
}

/// Expands what follows a dollar and gives what is left.
fn parameter<'t, 'a>(
    text: &'t str,
    lookup: &dyn Fn(&str) -> Option<&'a str>,
    out: &mut String,
) -> Result<&'t str, &'static str> {
    if text.starts_with('(') {
        return Err("commands are not run here");
    }
    let Some(braced) = text.strip_prefix('{') else {
        let length = expand::name_length(text);
        match &text[..length] {
            "" => out.push('$'),
            name => out.push_str(lookup(name).unwrap_or_default()),
        }
        return Ok(&text[length..]);
    };
    let end = closing(braced).ok_or("a brace is not closed")?;
    out.push_str(&substitute(&braced[..end], lookup)?);
    Ok(&braced[end + 1..])
}

/// The value of what is between braces.
fn substitute<'a>(inner: &str, lookup: &dyn Fn(&str) -> Option<&'a str>) -> Result<String, &'static str> {
    let (name, operator) = inner.split_at(expand::name_length(inner));
    if name.is_empty() {
        return Err("that is no name of a variable");
    }
    let value = lookup(name);
    let filled = value.filter(|value| !value.is_empty());
    let (chosen, word) = match operator.split_at_checked(2) {
        _ if operator.is_empty() => return Ok(value.unwrap_or_default().to_owned()),
        Some((":-", word)) => (filled, Some(word)),
        Some((":+", word)) => (None, filled.map(|_| word)),
        _ if operator.starts_with('-') => (value, Some(&operator[1..])),
        _ if operator.starts_with('+') => (None, value.map(|_| &operator[1..])),
        _ => return Err("this form of expansion is not supported"),
    };
    match (chosen, word) {
        (Some(value), _) => Ok(value.to_owned()),
        (None, Some(word)) => text_of(word, lookup),
        (None, None) => Ok(String::new()),
    }
}

/// Where the brace is that closes the one before the text.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}
