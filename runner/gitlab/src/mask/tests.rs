use super::*;
use proptest::prelude::*;

/// Writes `text` in pieces cut at `cuts` through a masker.
fn masked(masks: &Masks, text: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut masker = Masker::new(Vec::new(), masks);
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).chain([0, text.len()]).collect();
    cuts.sort_unstable();
    for piece in cuts.windows(2) {
        masker.write_all(&text[piece[0]..piece[1]]).expect("a Vec takes all");
    }
    masker.finish().expect("a Vec takes all")
}

fn masked_whole(values: &[&str], prefixes: &[&str], text: &str) -> String {
    let masks = Masks::new(values, prefixes);
    let whole = masked(&masks, text.as_bytes(), &[]);
    let bytewise = masked(&masks, text.as_bytes(), &(0..text.len()).collect::<Vec<_>>());
    assert_eq!(String::from_utf8_lossy(&whole), String::from_utf8_lossy(&bytewise), "split into bytes");
    String::from_utf8(whole).expect("UTF-8")
}

/// The three passes over the whole text, as simply as can be.
mod naive {
    use super::*;

    pub(super) fn masked(values: &[String], prefixes: &[String], text: &[u8]) -> Vec<u8> {
        tokens(prefixes, &urls(&self::values(values, text)))
    }

    fn values(values: &[String], text: &[u8]) -> Vec<u8> {
        let values: Vec<&[u8]> = values.iter().map(|value| value.trim().as_bytes()).filter(|v| !v.is_empty()).collect();
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for start in 0..text.len() {
            let longest = values.iter().filter(|value| text[start..].starts_with(value)).map(|value| value.len()).max();
            let Some(length) = longest else { continue };
            match runs.last_mut() {
                Some((_, end)) if start < *end => *end = (*end).max(start + length),
                _ => runs.push((start, start + length)),
            }
        }
        let mut out = Vec::new();
        let mut done = 0;
        for (start, end) in runs {
            out.extend_from_slice(&text[done..start]);
            out.extend_from_slice(b"[MASKED]");
            done = end;
        }
        out.extend_from_slice(&text[done..]);
        out
    }

    fn urls(text: &[u8]) -> Vec<u8> {
        let keys = [
            "private_token",
            "authenticity_token",
            "rss_token",
            "x-amz-signature",
            "x-amz-credential",
            "x-amz-security-token",
        ];
        let secret_at = |at: usize| {
            let rest = String::from_utf8_lossy(&text[at..text.len().min(at + 30)]).to_lowercase();
            let starts = |mark: &str, key: &str| rest.starts_with(&format!("{mark}{key}="));
            keys.iter().find(|key| starts("?", key) || starts("&", key)).map(|key| key.len() + 2)
        };
        copy(text, secret_at, |byte| !(byte <= b' ' || byte == 0x7f || byte == b'?' || byte == b'&'))
    }

    fn tokens(prefixes: &[String], text: &[u8]) -> Vec<u8> {
        let mut prefixes: Vec<&str> =
            prefixes.iter().map(|p| p.trim()).chain(DEFAULT_PREFIXES).filter(|p| !p.is_empty()).collect();
        prefixes.sort_by_key(|prefix| (prefix.len(), *prefix));
        prefixes.dedup();
        prefixes.truncate(15);
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"._=-".contains(&byte);
        let secret_at = |at: usize| {
            let fits =
                |p: &&&str| text[at..].starts_with(p.as_bytes()) && text.get(at + p.len()).is_some_and(|&b| token(b));
            prefixes.iter().find(fits).map(|prefix| prefix.len())
        };
        copy(text, secret_at, token)
    }

    /// Copies byte by byte; after the length that `secret_at` gives, what is `inside` becomes `[MASKED]`.
    fn copy(text: &[u8], secret_at: impl Fn(usize) -> Option<usize>, inside: impl Fn(u8) -> bool) -> Vec<u8> {
        let mut out = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let Some(length) = secret_at(at) else {
                out.push(text[at]);
                at += 1;
                continue;
            };
            out.extend_from_slice(&text[at..at + length]);
            out.extend_from_slice(b"[MASKED]");
            at += length;
            while at < text.len() && inside(text[at]) {
                at += 1;
            }
        }
        out
    }
}

#[test]
fn masked_values_disappear() {
    assert_eq!(masked_whole(&["s3cr3t"], &[], "a s3cr3t b s3cr3ts3cr3t"), "a [MASKED] b [MASKED][MASKED]");
    assert_eq!(masked_whole(&[" s3cr3t\n", "", "  "], &[], "a s3cr3t b"), "a [MASKED] b");
    assert_eq!(masked_whole(&["s3cr3t"], &[], "s3cr3"), "s3cr3");
}

#[test]
fn of_values_that_contain_or_overlap_each_other_nothing_remains() {
    assert_eq!(masked_whole(&["abc", "abcdef"], &[], "abcdef abcde"), "[MASKED] [MASKED]de");
    assert_eq!(masked_whole(&["bc", "abcd"], &[], "abcd abc"), "[MASKED] a[MASKED]");
    assert_eq!(masked_whole(&["abc", "bcde"], &[], "abcde"), "[MASKED]");
    assert_eq!(masked_whole(&["abc", "cde", "efg"], &[], "xabcdefgy"), "x[MASKED]y");
}

#[test]
fn a_value_of_one_byte_and_a_huge_one_are_masked() {
    assert_eq!(masked_whole(&["x"], &[], "axxb"), "a[MASKED][MASKED]b");
    let huge: String = (0..100_000).map(|n| char::from(b'a' + u8::try_from(n * 7 % 26).expect("below 26"))).collect();
    let masks = Masks::new([&huge, "b"], [""; 0]);
    let text = format!("1 {huge} 2 {} 3", &huge[..99_999]).replace('b', "B");
    let huge = huge.replace('b', "B");
    let masks_of_big = Masks::new([&huge], [""; 0]);
    assert_eq!(
        masked(&masks_of_big, text.as_bytes(), &[10, 5_000, 70_000]),
        format!("1 [MASKED] 2 {} 3", &huge[..99_999]).into_bytes()
    );
    assert_eq!(masked(&masks, b"ab", &[1]), b"a[MASKED]");
}

#[test]
fn secrets_in_urls_disappear() {
    let cases = [
        ("GET /x?private_token=abc&y=1", "GET /x?private_token=[MASKED]&y=1"),
        ("?a=b&X-AMZ-Signature=00ff rest", "?a=b&X-AMZ-Signature=[MASKED] rest"),
        ("?rss_token=1?rss_token=2\n", "?rss_token=[MASKED]?rss_token=[MASKED]\n"),
        ("?private_tokens=1 private_token=2", "?private_tokens=1 private_token=2"),
        ("?x-amz-security-token=", "?x-amz-security-token=[MASKED]"),
        ("?private_tok", "?private_tok"),
    ];
    for (text, expected) in cases {
        assert_eq!(masked_whole(&[], &[], text), expected);
    }
}

#[test]
fn what_follows_a_token_prefix_disappears() {
    let cases = [
        ("token: glpat-abc_DEF.1=-, next", "token: glpat-[MASKED], next"),
        ("glrt-t1_abc", "glrt-[MASKED]"),
        ("_gitlab_session=0123;", "_gitlab_session=[MASKED];"),
        ("glpat- nothing", "glpat- nothing"),
        ("my-abc", "my-[MASKED]"),
        ("glpat-", "glpat-"),
    ];
    for (text, expected) in cases {
        assert_eq!(masked_whole(&[], &["my-"], text), expected);
    }
}

#[test]
fn more_values_find_what_is_held_back() {
    let masks = Masks::new(["secret-one"], [""; 0]);
    let mut pipeline = Pipeline::new(&masks);
    let mut out = Vec::new();
    pipeline.feed(b"a secret-", &mut out);
    pipeline.set_masks(&masks.with(["secret-two"]));
    pipeline.feed(b"two b", &mut out);
    pipeline.finish(&mut out);
    assert_eq!(out, b"a [MASKED] b");
}

#[test]
fn masks_do_not_print_their_values() {
    let masker = Masker::new(Vec::new(), &Masks::new(["s3cr3t"], [""; 0]));
    assert!(!format!("{:?}", Masks::new(["s3cr3t"], [""; 0])).contains("s3cr3t"));
    assert!(!format!("{:?}", masker.pipeline.values).contains("s3cr3t"));
}

/// Texts in which values, keys and prefixes are likely, whole, cut short, and into each other.
fn text(values: Vec<String>) -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        4 => prop::sample::select(values).prop_map(String::into_bytes),
        2 => "[abé]{1,4}".prop_map(String::into_bytes),
        1 => prop::sample::select(vec!["?private_token=", "&X-Amz-Signature=", "?rss_token", "&", " ", "\n", "?"])
            .prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::sample::select(vec!["glpat-", "glrt-", "gl", "ab-", "_gitlab_session=", "."])
            .prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    let words = prop::collection::vec((word, 0..6_usize), 0..30);
    words.prop_map(|words| {
        let cut = |(word, cut): (Vec<u8>, usize)| if cut == 0 { word[..word.len() / 2].to_vec() } else { word };
        words.into_iter().flat_map(cut).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn masking_in_pieces_equals_masking_the_whole(
        (values, text) in prop::collection::vec("[ab]{1,3}|[abé]{2,6}|x|glpat-|&rss_token=", 1..6)
            .prop_flat_map(|values| (Just(values.clone()), text(values))),
        prefixes in prop::collection::vec("ab-|a|aé|abc", 0..3),
        cuts in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        let masks = Masks::new(&values, &prefixes);
        let streamed = masked(&masks, &text, &cuts);
        let whole = naive::masked(&values, &prefixes, &text);
        prop_assert_eq!(String::from_utf8_lossy(&streamed), String::from_utf8_lossy(&whole));
    }
}
