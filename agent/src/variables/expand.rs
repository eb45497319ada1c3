//! GitLab Runner's expansion of `$NAME` and `${NAME}` (protocol §2.6): one pass, no recursion.

/// Replaces references by what `lookup` answers; unknown names are its business.
///
/// `$$` gives `$`. The shell's special parameters are names of one character. Inside braces everything up to `}` is
/// the name; `${}` and an unclosed `${` disappear. A `$` before anything else stays.
pub(super) fn expand<'a>(text: &str, lookup: impl Fn(&str) -> &'a str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let (reference, length) = reference(&rest[at + 1..]);
        match reference {
            Reference::Name("$") | Reference::Nothing => out.push('$'),
            Reference::Name(name) => out.push_str(lookup(name)),
            Reference::Broken => {}
        }
        rest = &rest[at + 1 + length..];
    }
    out.push_str(rest);
    out
}

enum Reference<'a> {
    Name(&'a str),
    /// Braces that hold no name.
    Broken,
    /// The dollar is only a dollar.
    Nothing,
}

/// What follows a dollar, and how many bytes of it belong to the reference.
fn reference(text: &str) -> (Reference<'_>, usize) {
    if let Some(braced) = text.strip_prefix('{') {
        return match braced.find('}') {
            None => (Reference::Broken, 1),
            Some(0) => (Reference::Broken, 2),
            Some(end) => (Reference::Name(&braced[..end]), end + 2),
        };
    }
    let length = name_length(text);
    if length == 0 { (Reference::Nothing, 0) } else { (Reference::Name(&text[..length]), length) }
}

/// How many bytes at the beginning are a name: letters, digits and underscores, or one special parameter.
pub(super) fn name_length(text: &str) -> usize {
    match text.chars().next() {
        Some(first) if "*#$@!?-0123456789".contains(first) => 1,
        _ => text.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count(),
    }
}
