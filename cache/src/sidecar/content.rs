//! Content on its way in and out.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::{
    StatusCode,
    body::{Body, Frame, Incoming, SizeHint},
};
use sha2::{Digest as _, Sha256};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use super::{LARGEST, request::Refusal};
use crate::digest::Digest;

/// The longest pause of a client while it sends.
const PAUSE: Duration = Duration::from_secs(30);
/// How much of an answer is handed to the connection at once.
const SLICE: usize = 256 << 10;

/// An answer's content. It is handed on in slices, so that its share of the memory is free only once nearly all of
/// it has been sent.
#[derive(Default)]
pub(super) struct Content {
    bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

impl Content {
    pub(super) fn new(bytes: Bytes, share: OwnedSemaphorePermit) -> Self {
        Self { bytes, _share: Some(share) }
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self { bytes: text.into(), _share: None }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.bytes.len().min(SLICE);
        Poll::Ready(Some(Ok(Frame::data(self.bytes.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

/// Gives the length that a request announces, if that is at most `largest`.
pub(super) fn announced(body: &Incoming, largest: u64) -> Result<u64, Refusal> {
    let Some(length) = body.size_hint().exact() else {
        return Err((StatusCode::LENGTH_REQUIRED, "a put needs its Content-Length".to_owned()));
    };
    if length > largest {
        return Err((StatusCode::PAYLOAD_TOO_LARGE, format!("{length} bytes are more than {largest}")));
    }
    Ok(length)
}

/// Reads the content of a request, `length` bytes.
pub(super) async fn read(body: &mut Incoming, length: u64) -> Result<(Bytes, Digest), Refusal> {
    let (mut bytes, mut hash) = (BytesMut::with_capacity(usize::try_from(length).unwrap_or(0)), Sha256::new());
    while let Some(piece) = next(body).await? {
        hash.update(&piece);
        bytes.extend_from_slice(&piece);
    }
    Ok((bytes.freeze(), Digest(hash.finalize().into())))
}

/// Reads what is left of a request that was refused: most clients see the answer only once they have sent all.
pub(super) async fn discard(body: &mut Incoming) {
    let mut left = LARGEST;
    while let Ok(Some(piece)) = next(body).await {
        let Some(less) = left.checked_sub(piece.len() as u64) else { return };
        left = less;
    }
}

async fn next(body: &mut Incoming) -> Result<Option<Bytes>, Refusal> {
    let refusal = |reason: &str| (StatusCode::REQUEST_TIMEOUT, reason.to_owned());
    let frame = timeout(PAUSE, body.frame()).await.map_err(|_| refusal("the client has stopped sending"))?;
    let frame = frame.transpose().map_err(|error| refusal(&format!("the content broke off: {error}")))?;
    Ok(frame.map(|frame| frame.into_data().unwrap_or_default()))
}
