//! Doublestar globs over names of any bytes (protocol §6.2): `*`, `**`, `?`, `[…]`, `{a,b}`, `\`.

use crate::workspace::{Kind, Workspace};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// More alternatives than this in one pattern are a mistake, or an attack.
const MAX_ALTERNATIVES: usize = 1000;

/// A pattern of which each alternative is a list of parts between slashes.
#[derive(Debug)]
pub(super) struct Glob {
    alternatives: Vec<Vec<Part>>,
}

/// What stands for one component of a path, or for any number of them.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    /// A name without anything special.
    Literal(Vec<u8>),
    Pattern(Vec<Token>),
    /// `**`
    AnyDepth,
}

/// What stands for one character of a name, or for any number of them.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Token {
    Char(u32),
    /// `?`
    One,
    /// `*`
    Many,
    /// `[…]`: ranges, and whether they are excluded.
    Class(Vec<(u32, u32)>, bool),
}

impl Glob {
    /// Reads a pattern; `Err` says what is wrong with it.
    pub(super) fn parse(pattern: &str) -> Result<Self, String> {
        let alternatives = expand_braces(pattern)?;
        let alternatives = alternatives.iter().map(|text| parts(text)).collect::<Result<_, _>>()?;
        Ok(Self { alternatives })
    }

    /// Whether a whole relative path matches.
    pub(super) fn matches(&self, path: &Path) -> bool {
        let names: Vec<_> = path.components().map(Component::as_os_str).collect();
        self.alternatives.iter().any(|parts| wild(parts, &names, |p| *p == Part::AnyDepth, |p, name| p.fits(name)))
    }

    /// All paths that match. A final `**` gives the directory it is in, for what is below is taken with it.
    pub(super) fn find(&self, workspace: &Workspace) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for parts in &self.alternatives {
            let mut seen = HashSet::new();
            let mut ahead = vec![(PathBuf::new(), 0)];
            while let Some((path, at)) = ahead.pop() {
                if seen.insert((path.clone(), at)) {
                    advance(workspace, parts, &path, at, &mut ahead, &mut found);
                }
            }
        }
        found.sort();
        found.dedup();
        found
    }
}

/// Takes the part at `at` from a path that matches those before it.
fn advance(
    workspace: &Workspace,
    parts: &[Part],
    path: &Path,
    at: usize,
    ahead: &mut Vec<(PathBuf, usize)>,
    found: &mut Vec<PathBuf>,
) {
    match parts.get(at) {
        None if kind(workspace, path).is_some() => found.push(path.to_owned()),
        None => {}
        Some(Part::Literal(name)) => ahead.push((path.join(OsStr::from_bytes(name)), at + 1)),
        Some(Part::Pattern(tokens)) => {
            let fits = |name: &OsString| matches_name(tokens, name);
            ahead.extend(names(workspace, path).iter().filter(|name| fits(name)).map(|name| (path.join(name), at + 1)));
        }
        Some(Part::AnyDepth) => {
            ahead.push((path.to_owned(), at + 1));
            if at + 1 < parts.len() {
                let below = names(workspace, path).into_iter().map(|name| path.join(name));
                ahead.extend(
                    below.filter(|below| kind(workspace, below) == Some(Kind::Directory)).map(|below| (below, at)),
                );
            }
        }
    }
}

/// The names in a directory, also when a symlink inside leads to it; none where there is no directory.
fn names(workspace: &Workspace, directory: &Path) -> Vec<OsString> {
    workspace.names(directory).unwrap_or_default()
}

/// What is at a path; what leads out of the workspace is not there.
fn kind(workspace: &Workspace, path: &Path) -> Option<Kind> {
    workspace.stat(path).ok().flatten().map(|stat| stat.kind)
}

impl Part {
    fn fits(&self, name: &OsStr) -> bool {
        match self {
            Self::Literal(literal) => literal == name.as_bytes(),
            Self::Pattern(tokens) => matches_name(tokens, name),
            Self::AnyDepth => true,
        }
    }
}

fn matches_name(tokens: &[Token], name: &OsStr) -> bool {
    let fits = |token: &Token, c: &u32| match token {
        Token::Char(wanted) => wanted == c,
        Token::Class(ranges, excluded) => ranges.iter().any(|(low, high)| (low..=high).contains(&c)) != *excluded,
        Token::One | Token::Many => true,
    };
    wild(tokens, &characters(name.as_bytes()), |token| *token == Token::Many, fits)
}

/// Matches a pattern in which some parts (`is_star`) stand for any number of items, in time quadratic at worst: only
/// the last star is ever tried again.
fn wild<P, T>(pattern: &[P], text: &[T], is_star: impl Fn(&P) -> bool, fits: impl Fn(&P, &T) -> bool) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry = None;
    loop {
        match pattern.get(p) {
            Some(part) if is_star(part) => {
                retry = Some((p + 1, t));
                p += 1;
                continue;
            }
            Some(part) if text.get(t).is_some_and(|item| fits(part, item)) => {
                (p, t) = (p + 1, t + 1);
                continue;
            }
            None if t == text.len() => return true,
            _ => {}
        }
        match retry {
            Some((after, from)) if from < text.len() => {
                retry = Some((after, from + 1));
                (p, t) = (after, from + 1);
            }
            _ => return false,
        }
    }
}

/// The characters of a name; a byte that belongs to none is a character of its own beyond all others.
fn characters(name: &[u8]) -> Vec<u32> {
    let mut out = Vec::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        out.extend(chunk.valid().chars().map(u32::from));
        out.extend(chunk.invalid().iter().map(|byte| 0x0011_0000 + u32::from(*byte)));
    }
    out
}

fn parts(pattern: &str) -> Result<Vec<Part>, String> {
    let mut parts: Vec<Part> = Vec::new();
    for text in pattern.split('/').filter(|text| !matches!(*text, "" | ".")) {
        let part = part(text)?;
        if part != Part::AnyDepth || parts.last() != Some(&Part::AnyDepth) {
            parts.push(part);
        }
    }
    Ok(parts)
}

fn part(text: &str) -> Result<Part, String> {
    if text == "**" {
        return Ok(Part::AnyDepth);
    }
    let tokens = tokens(text)?;
    let literal: Option<String> =
        tokens.iter().map(|token| if let Token::Char(c) = token { char::from_u32(*c) } else { None }).collect();
    Ok(literal.map_or(Part::Pattern(tokens), |name| Part::Literal(name.into_bytes())))
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '?' => Token::One,
            '*' => Token::Many,
            '[' => class(&mut chars)?,
            '\\' => Token::Char(chars.next().ok_or("it ends in a backslash")?.into()),
            c => Token::Char(c.into()),
        });
    }
    Ok(tokens)
}

/// What follows an opening bracket, up to the closing one.
fn class(chars: &mut std::str::Chars<'_>) -> Result<Token, String> {
    let open = "a [ is not closed";
    let mut rest = chars.clone();
    let excluded = matches!(rest.next(), Some('!' | '^'));
    if excluded {
        *chars = rest;
    }
    let mut ranges = Vec::new();
    loop {
        let low = match chars.next().ok_or(open)? {
            ']' if !ranges.is_empty() => return Ok(Token::Class(ranges, excluded)),
            ']' => return Err("a [ holds no character".to_owned()),
            '\\' => chars.next().ok_or(open)?,
            c => c,
        };
        let mut after = chars.clone();
        let high = match (after.next(), after.next()) {
            (Some('-'), Some(high)) if high != ']' => {
                *chars = after;
                if high == '\\' { chars.next().ok_or(open)? } else { high }
            }
            _ => low,
        };
        ranges.push((low.into(), high.into()));
    }
}

/// All alternatives of the braces in a pattern.
fn expand_braces(pattern: &str) -> Result<Vec<String>, String> {
    let mut done = Vec::new();
    let mut ahead = vec![pattern.to_owned()];
    while let Some(text) = ahead.pop() {
        match first_braces(&text)? {
            None => done.push(text),
            Some((_, choices, _)) if choices.len() > MAX_ALTERNATIVES => return Err(too_many()),
            Some((start, choices, end)) => {
                let joined = choices.iter().map(|choice| format!("{}{choice}{}", &text[..start], &text[end..]));
                ahead.extend(joined.rev().collect::<Vec<_>>());
            }
        }
        if done.len() + ahead.len() > MAX_ALTERNATIVES {
            return Err(too_many());
        }
    }
    Ok(done)
}

fn too_many() -> String {
    format!("it has more than {MAX_ALTERNATIVES} alternatives")
}

/// Where the first pair of braces begins, what it offers, and where it ends.
fn first_braces(text: &str) -> Result<Option<(usize, Vec<String>, usize)>, String> {
    let (mut depth, mut start, mut from, mut choices) = (0, 0, 0, Vec::new());
    let (mut escaped, mut in_class) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ']' => in_class = false,
            _ if in_class => {}
            '[' => in_class = true,
            '{' => {
                depth += 1;
                if depth == 1 {
                    (start, from) = (at, at + 1);
                }
            }
            ',' if depth == 1 => {
                choices.push(text[from..at].to_owned());
                from = at + 1;
            }
            '}' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    choices.push(text[from..at].to_owned());
                    return Ok(Some((start, choices, at + 1)));
                }
            }
            _ => {}
        }
    }
    if depth > 0 { Err("a { is not closed".to_owned()) } else { Ok(None) }
}
