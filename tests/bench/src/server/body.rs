//! The body of an upload: plain, or in the signed chunks that some clients send (`aws-chunked`).

use anyhow::{Context as _, Result, bail};
use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use bytes::Bytes;
use http_body_util::BodyExt as _;

/// Reads all of it.
pub(super) async fn read(headers: &HeaderMap, mut body: Body) -> Result<Bytes> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let mut bytes = Vec::with_capacity(length.unwrap_or(0));
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.context("read the body")?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    let signed = headers.get("x-amz-content-sha256").is_some_and(|value| value.as_bytes().starts_with(b"STREAMING-"));
    if signed { unchunk(&bytes).map(Bytes::from) } else { Ok(bytes.into()) }
}

/// Takes the data out of chunks: `size;chunk-signature=…`, data, and so on until a size of 0. Signatures are ignored.
fn unchunk(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(rest.len());
    loop {
        let end = rest.windows(2).position(|pair| pair == b"\r\n").context("find the head of a chunk")?;
        let head = std::str::from_utf8(&rest[..end]).context("read the head of a chunk")?;
        let size = head.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).with_context(|| format!("read the size of a chunk, {size}"))?;
        if size == 0 {
            return Ok(bytes);
        }
        let start = end + 2;
        if rest.len() < start + size + 2 {
            bail!("a chunk of {size} bytes is cut off");
        }
        bytes.extend_from_slice(&rest[start..start + size]);
        rest = &rest[start + size + 2..];
    }
}

#[cfg(test)]
mod tests {
    use super::unchunk;

    #[test]
    fn signed_chunks_give_their_data() {
        let bytes = b"3;chunk-signature=ab\r\nabc\r\n2;chunk-signature=cd\r\n\r\n\r\n0;chunk-signature=ef\r\n\r\n";
        assert_eq!(unchunk(bytes).expect("well formed"), b"abc\r\n");
    }

    #[test]
    fn chunks_that_are_cut_off_are_refused() {
        assert!(unchunk(b"5;chunk-signature=ab\r\nabc").is_err());
    }
}
