//! Artifacts: up (protocol §1.10) and down (§1.11).

use crate::{Error, client::JobClient};
use tokio::io::AsyncRead;

/// One upload, as the payload's entry describes it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Upload {
    /// The archive's file name.
    pub file_name: String,
    /// `zip`, `gzip`, `raw`; not sent when empty.
    pub format: String,
    /// `archive`, `junit`, …; not sent when empty.
    pub kind: String,
    /// Free text such as `1 week`; not sent when empty.
    pub expire_in: String,
}

/// Uploads an archive; `body` makes it anew for each try.
///
/// Fails with the last try's error: 403 and 413 at once, 503 after six tries, others after three.
pub async fn upload<F, Fut, R>(job: &JobClient, upload: &Upload, body: F) -> Result<(), Error>
where
    F: Fn() -> Fut + Sync,
    Fut: Future<Output = std::io::Result<R>> + Send,
    R: AsyncRead + Send + 'static,
{
    let _ = (job, upload);
    let _ = body().await;
    todo!()
}

/// Downloads the artifacts of the job that `dependency` names (its id and its token) into `file` and rewinds it;
/// gives the number of bytes. `direct` is `FF_USE_DIRECT_DOWNLOAD`: GitLab may answer with the object store's URL.
///
/// Fails with status 401 or 403 (denied) or 404 (there are none) at once, otherwise after three tries.
pub async fn download(dependency: &JobClient, file: &mut tokio::fs::File, direct: bool) -> Result<u64, Error> {
    let _ = (dependency, file, direct);
    std::future::ready(()).await;
    todo!()
}
