//! Who may share a cache with whom: scopes and keys, validated where they enter.
//!
//! A scope is `<project>/protected` or `<project>/unprotected`. GitLab appends `-protected` or `-non_protected` to
//! the keys of projects that keep the two apart; the suffix decides the scope, and a key that ends in `-protected`
//! is refused in an unprotected scope. Objects of different scopes share nothing, so that credentials limited to a
//! scope's prefix are limited to its content.
//!
//! In object names both are escaped: `A-Z a-z 0-9 _ - .` stand for themselves (a dot not in front), every other
//! byte is `~` and two lower-case hexadecimal digits. An escaped name beyond 200 bytes becomes `~~` and the SHA-256
//! of the unescaped one. Different names therefore never share an object name.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{digest::Digest, error::Error};

/// The longest project name or key, in bytes.
const MAX_NAME: usize = 1024;
/// The longest escaped name; longer ones are hashed.
const MAX_ESCAPED: usize = 200;
/// What hashed names begin with, and no others.
const HASHED: &str = "~~";

/// Whether a cache was written by jobs of protected branches and tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protection {
    /// Written by protected refs only.
    Protected,
    /// Written by any ref.
    Unprotected,
}

/// A project's caches of one [`Protection`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope {
    project: String,
    protection: Protection,
}

impl Scope {
    /// Gives a project's scope. `project` is any name of 1 to 1,024 bytes without control characters, in GitLab
    /// the project's id.
    pub fn new(project: &str, protection: Protection) -> Result<Self, Error> {
        check("scope", project)?;
        Ok(Self { project: project.to_owned(), protection })
    }

    /// Gives the scope of a key as GitLab resolved it: protected if it ends in `-protected`, else unprotected.
    pub fn of_key(project: &str, key: &Key) -> Result<Self, Error> {
        let protected = key.is_protected();
        Self::new(project, if protected { Protection::Protected } else { Protection::Unprotected })
    }

    /// Refuses a protected key in an unprotected scope.
    pub fn admit(&self, key: &Key) -> Result<(), Error> {
        if self.protection == Protection::Unprotected && key.is_protected() {
            let reason = "ends in -protected and belongs to the project's protected scope";
            return Err(Error::Name { what: "key", name: key.0.clone(), reason });
        }
        Ok(())
    }

    /// Gives the prefix of all its objects, with the format's version in front and `/` at the end.
    #[must_use]
    pub fn prefix(&self) -> String {
        format!("v1/{}/{}/", escape(&self.project), self.protection)
    }

    /// Gives the scope whose objects have this prefix; `None` if there is none, or its name was hashed.
    pub(crate) fn of_prefix(prefix: &str) -> Option<Self> {
        let (project, protection) = prefix.strip_prefix("v1/")?.strip_suffix('/')?.split_once('/')?;
        let scope: Self = format!("{}/{protection}", unescape(project)?).parse().ok()?;
        (scope.prefix() == prefix).then_some(scope)
    }

    pub(crate) fn refs(&self, key: &Key) -> String {
        format!("{}refs/{}/", self.prefix(), escape(&key.0))
    }

    pub(crate) fn all_refs(&self) -> String {
        format!("{}refs/", self.prefix())
    }

    /// Gives what the refs of all keys begin with that begin with `prefix`, and those of all long keys: these are
    /// hashed, and only the refs themselves tell.
    pub(crate) fn refs_with_prefix(&self, prefix: &str) -> Vec<String> {
        let (refs, escaped) = (self.all_refs(), escape_bytes(prefix));
        let hashed = format!("{refs}{HASHED}");
        if escaped.len() > MAX_ESCAPED { vec![hashed] } else { vec![format!("{refs}{escaped}"), hashed] }
    }

    pub(crate) fn manifest(&self, digest: &Digest) -> String {
        format!("{}manifests/{digest}", self.prefix())
    }

    pub(crate) fn pack(&self, digest: &Digest) -> String {
        format!("{}packs/{digest}", self.prefix())
    }
}

impl fmt::Display for Protection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Protected => "protected",
            Self::Unprotected => "unprotected",
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.project, self.protection)
    }
}

impl FromStr for Scope {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.rsplit_once('/') {
            Some((project, "protected")) => Self::new(project, Protection::Protected),
            Some((project, "unprotected")) => Self::new(project, Protection::Unprotected),
            _ => {
                let reason = "is not <project>/protected or <project>/unprotected";
                Err(Error::Name { what: "scope", name: text.to_owned(), reason })
            }
        }
    }
}

impl TryFrom<String> for Scope {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

/// The name of a cache within its scope: 1 to 1,024 bytes without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(String);

impl Key {
    /// Takes a key as GitLab resolved it.
    pub fn new(key: impl Into<String>) -> Result<Self, Error> {
        let key = key.into();
        check("key", &key)?;
        Ok(Self(key))
    }

    /// Gives the key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether only protected refs may use it.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        self.0.ends_with("-protected")
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Key {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::new(text)
    }
}

impl TryFrom<String> for Key {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        Self::new(text)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0
    }
}

fn check(what: &'static str, name: &str) -> Result<(), Error> {
    let error = |reason| Err(Error::Name { what, name: name.chars().take(100).collect(), reason });
    match name {
        "" => error("is empty"),
        _ if name.len() > MAX_NAME => error("is longer than 1024 bytes"),
        _ if name.chars().any(char::is_control) => error("has a control character"),
        _ => Ok(()),
    }
}

/// Gives the one segment of an object name that stands for `name` and for no other.
fn escape(name: &str) -> String {
    let escaped = escape_bytes(name);
    if escaped.len() > MAX_ESCAPED { format!("{HASHED}{}", Digest::of(name.as_bytes())) } else { escaped }
}

/// Escapes byte by byte, so that the beginning of a name gives the beginning of its escaped form.
fn escape_bytes(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for (position, byte) in name.bytes().enumerate() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => escaped.push(char::from(byte)),
            b'.' if position > 0 => escaped.push('.'),
            _ => {
                escaped.push('~');
                escaped.push_str(&hex::encode([byte]));
            }
        }
    }
    escaped
}

/// Gives the name that was escaped to this, unless it was hashed; [`escape()`] tells whether it really was.
fn unescape(escaped: &str) -> Option<String> {
    let mut parts = escaped.split('~');
    let mut name = parts.next()?.as_bytes().to_vec();
    for part in parts {
        name.extend(hex::decode(part.get(..2)?).ok()?);
        name.extend(part[2..].bytes());
    }
    String::from_utf8(name).ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    #[test]
    fn the_suffix_of_a_key_decides_its_scope() {
        for (name, scope) in [
            ("main-protected", "7/protected"),
            ("main-non_protected", "7/unprotected"),
            ("main", "7/unprotected"),
            ("protected", "7/unprotected"),
            ("main-protected-1", "7/unprotected"),
        ] {
            assert_eq!(Scope::of_key("7", &key(name)).unwrap().to_string(), scope, "{name}");
        }
    }

    #[test]
    fn a_protected_key_is_refused_in_an_unprotected_scope() {
        let unprotected = Scope::new("7", Protection::Unprotected).unwrap();
        assert!(unprotected.admit(&key("main-protected")).is_err());
        assert!(unprotected.admit(&key("main-non_protected")).is_ok());
    }

    #[test]
    fn scopes_and_keys_that_name_nothing_are_refused() {
        for text in ["", "7", "7/", "7/private", "/protected", "a\nb/protected"] {
            assert!(text.parse::<Scope>().is_err(), "{text:?}");
        }
        for text in ["", "a\0", "a\nb", &"k".repeat(1025)] {
            assert!(Key::new(text).is_err(), "{text:?}");
        }
        assert_eq!("a/b/protected".parse::<Scope>().unwrap().to_string(), "a/b/protected");
    }

    #[test]
    fn object_names_are_as_the_format_says() {
        assert_eq!(escape("main-1.2_x"), "main-1.2_x");
        assert_eq!(escape("../a b/ä~"), "~2e.~2fa~20b~2f~c3~a4~7e");
        assert_eq!(escape(&"k".repeat(200)), "k".repeat(200));
        assert_eq!(escape(&"k".repeat(201)).len(), 66);
        let scope = Scope::new("group/project", Protection::Protected).unwrap();
        assert_eq!(scope.refs(&key("k")), "v1/group~2fproject/protected/refs/k/");
    }

    #[test]
    fn a_scope_is_found_by_the_prefix_of_its_objects() {
        for name in ["7/protected", "group/project/unprotected", "../a b/ä~/protected"] {
            let scope: Scope = name.parse().unwrap();
            assert_eq!(Scope::of_prefix(&scope.prefix()), Some(scope), "{name}");
        }
        let hashed = Scope::new(&"k".repeat(201), Protection::Protected).unwrap();
        for prefix in [&hashed.prefix(), "v1/7/private/", "v1/7/protected", "v1/a~2/protected/", "v1/~37/protected/"] {
            assert_eq!(Scope::of_prefix(prefix), None, "{prefix}");
        }
    }

    proptest! {
        #[test]
        fn different_names_never_share_an_object_name(one in "[ -~ä]{1,80}", other in "[ -~ä]{1,80}") {
            prop_assert_eq!(one == other, escape(&one) == escape(&other));
        }

        #[test]
        fn near_names_never_share_an_object_name(name in "[~2e./a]{1,6}", other in "[~2e./a]{1,6}") {
            prop_assert_eq!(name == other, escape(&name) == escape(&other));
        }

        #[test]
        fn an_object_name_is_one_plain_segment(name in "\\PC{1,300}") {
            let escaped = escape(&name);
            prop_assert!(escaped.len() <= MAX_ESCAPED && !escaped.starts_with('.'));
            prop_assert!(escaped.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-~".contains(&byte)));
        }
    }
}
